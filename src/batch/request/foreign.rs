//! Fields of other engines that this program does not have: which of their values ask for nothing,
//! and what the others ask for.
//!
//! A field is honoured (see [`options`](super::options)), asks for nothing, or is refused by its
//! name: whoever writes it wants another answer than the one without it.

use serde_json::Value;

use super::line::unsupported;
use crate::content::decode::At;

/// Fields that cannot change an answer here: what a client says about itself, how a server is to
/// schedule or keep things, and details of methods that are refused themselves where they are on.
const WITHOUT_EFFECT: &[&str] = &[
    "model",
    "user",
    "metadata",
    "store",
    "service_tier",
    "stream",
    "stream_options",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "request_id",
    "priority",
    "cache_prompt",
    "id_slot",
    "slot_id",
    "timings_per_token",
    "return_progress",
    "keep_alive",
    "cache_salt",
    "guided_decoding_backend",
    "guided_whitespace_pattern",
    "mirostat_tau",
    "mirostat_eta",
    "dry_base",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "dry_sequence_breakers",
    "xtc_threshold",
    "dynatemp_exponent",
    "smoothing_curve",
    "adaptive_decay",
    "tool_call_parser",
    "parse_tool_calls",
    "rid",
    "extra_key",
    "session_params",
    "data_parallel_rank",
    "stream_interval",
    "stream_reasoning",
    "log_metrics",
    "n_cache_reuse",
    "sse_ping_interval",
    "verbose",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "use_mmap",
    "low_vram",
    "use_cache",
    "cache_implementation",
    "low_memory",
    "truncation_side",
    "pad_token_id",
    "skip_reading_prefix_cache",
    "genkey",
];

const OFF: &[&str] = &["false"];
const ON: &[&str] = &["true"];
const ZERO: &[&str] = &["0", "false"];
const ONE: &[&str] = &["1"];
const NO_TEXT: &[&str] = &["\"\""];
const NO_LIST: &[&str] = &["[]"];
const NO_OBJECT: &[&str] = &["{}", "\"\""];
const NONE: &[&str] = &[];

/// A field, the values that ask for nothing (as JSON), and what the others ask for.
const REFUSED: &[(&str, &[&str], &str)] = &[
    ("functions", NO_LIST, "calling functions"),
    ("function_call", &["\"none\"", "\"auto\""], "calling functions"),
    ("structural_tag", NO_OBJECT, "forcing the form of an answer"),
    ("grammar", NO_OBJECT, "`grammar`; `guided_grammar` takes Lark's notation"),
    ("ebnf", NO_TEXT, "`ebnf`; `guided_grammar` takes Lark's notation"),
    ("format", NO_TEXT, "forcing the form of an answer"),
    ("modalities", &[r#"["text"]"#, "[]"], "answers that are no text"),
    ("audio", NONE, "answers that are no text"),
    ("images", NO_LIST, "pictures"),
    ("image_data", NO_LIST, "pictures"),
    ("mm_processor_kwargs", NO_OBJECT, "pictures"),
    ("web_search_options", NONE, "searching the web"),
    ("documents", NO_LIST, "documents beside the messages"),
    ("suffix", NO_TEXT, "filling in before a suffix"),
    ("input_prefix", NO_TEXT, "filling in before a suffix"),
    ("input_suffix", NO_TEXT, "filling in before a suffix"),
    ("prompt_embeds", NONE, "prompts that are no tokens"),
    ("chat_template", NO_TEXT, "another chat template than the model's"),
    ("typical_p", ONE, "typical sampling"),
    ("typical", ONE, "typical sampling"),
    ("top_a", ZERO, "top-a sampling"),
    ("tfs_z", ONE, "tail-free sampling"),
    ("tfs", ONE, "tail-free sampling"),
    ("top_n_sigma", &["0", "-1"], "top-n-sigma sampling"),
    ("nsigma", &["0", "-1"], "top-n-sigma sampling"),
    ("epsilon_cutoff", ZERO, "epsilon sampling"),
    ("eta_cutoff", ZERO, "eta sampling"),
    ("mirostat", ZERO, "Mirostat sampling"),
    ("mirostat_mode", ZERO, "Mirostat sampling"),
    ("dry_multiplier", ZERO, "the DRY penalty"),
    ("xtc_probability", ZERO, "XTC sampling"),
    ("dynatemp_range", ZERO, "a temperature that changes"),
    ("dynatemp_low", ZERO, "a temperature that changes"),
    ("dynatemp_high", ZERO, "a temperature that changes"),
    ("dynamic_temperature", OFF, "a temperature that changes"),
    ("smoothing_factor", ZERO, "smoothed sampling"),
    ("temperature_last", ON, "another order of the samplers"),
    ("samplers", NO_LIST, "another order of the samplers"),
    ("sampler_order", NO_LIST, "another order of the samplers"),
    ("sampler_priority", NO_LIST, "another order of the samplers"),
    ("adaptive_target", &["-1"], "adaptive sampling"),
    ("penalize_nl", ON, "sparing line breaks from the penalties"),
    ("no_repeat_ngram_size", ZERO, "forbidding repeated sequences"),
    ("encoder_repetition_penalty", ONE, "a penalty of the prompt alone"),
    ("penalty_alpha", ZERO, "contrastive search"),
    ("guidance_scale", ONE, "guidance by a second prompt"),
    ("cfg_scale", ONE, "guidance by a second prompt"),
    ("negative_prompt", NO_TEXT, "guidance by a second prompt"),
    ("use_beam_search", OFF, "beam search"),
    ("num_beams", ONE, "beam search"),
    ("beam_width", ONE, "beam search"),
    ("length_penalty", &["1", "0"], "beam search"),
    ("early_stopping", OFF, "beam search"),
    ("bad_words", NO_LIST, "forbidding words; `logit_bias` forbids tokens"),
    ("bad_words_ids", NO_LIST, "forbidding words; `logit_bias` forbids tokens"),
    ("allowed_token_ids", NO_LIST, "allowing some tokens alone; `logit_bias` favours tokens"),
    ("logits_processors", NO_LIST, "code of a request's own"),
    ("custom_logit_processor", NO_TEXT, "code of a request's own"),
    ("lora_path", NO_TEXT, "adapters under this name; `lora` names those of --lora NAME=FILE"),
    ("adapter_id", NO_TEXT, "adapters under this name; `lora` names those of --lora NAME=FILE"),
    ("truncate_prompt_tokens", &["-1", "0"], "cutting prompts to a length"),
    ("truncate", &["-1", "0"], "cutting prompts to a length"),
    ("max_length", NONE, "a length of prompt and answer together; `max_tokens` is the answer's"),
    ("num_ctx", NONE, "a context of a request's own; --context sets that of the run"),
    ("n_keep", &["0", "-1"], "shifting the context"),
    ("num_keep", &["0", "-1"], "shifting the context"),
    ("n_discard", ZERO, "shifting the context"),
    ("n_indent", ZERO, "an indentation of the answer"),
    ("min_keep", ZERO, "a least number of tokens that filters keep"),
    ("n_probs", ZERO, "`n_probs`; `logprobs` says how many alternatives"),
    ("top_n_tokens", ZERO, "`top_n_tokens`; `logprobs` says how many alternatives"),
    ("post_sampling_probs", OFF, "probabilities after the filters"),
    ("prompt_logprobs_start", NONE, "scoring a part of the prompt"),
    ("logprob_start_len", &["-1"], "scoring a part of the prompt"),
    ("return_tokens", OFF, "token ids in results"),
    ("return_token_ids", OFF, "token ids in results"),
    ("return_tokens_as_token_ids", OFF, "token ids in results"),
    ("return_hidden_states", OFF, "hidden states in results"),
    ("return_full_text", OFF, "`return_full_text`; `echo` does the same for a completion"),
    ("response_fields", NO_LIST, "results of another shape"),
    ("include_reasoning", ON, "taking thoughts out of an answer"),
    ("separate_reasoning", OFF, "taking thoughts out of an answer"),
    ("reasoning_format", &["\"none\"", "\"auto\""], "taking thoughts out of an answer"),
    (
        "reasoning_budget",
        &["-1"],
        "a limit of thoughts; `chat_template_kwargs` may switch them off",
    ),
    ("thinking_budget", &["-1"], "a limit of thoughts; `chat_template_kwargs` may switch them off"),
    (
        "thinking_budget_tokens",
        &["-1"],
        "a limit of thoughts; `chat_template_kwargs` may switch them off",
    ),
    ("thinking_forced_open", OFF, "thoughts that are opened for the model"),
    ("thinking", NONE, "`thinking`; `chat_template_kwargs` has what the template reads"),
    ("reasoning", NONE, "`reasoning`; `chat_template_kwargs` has what the template reads"),
    ("t_max_predict_ms", &["0", "-1"], "a limit of time"),
    ("max_time", NONE, "a limit of time"),
    ("watermark", OFF, "watermarks"),
    ("kv_transfer_params", NO_OBJECT, "keys and values from elsewhere"),
    ("options", NO_OBJECT, "fields within `options`; give them beside the prompt"),
    ("sampling_params", NO_OBJECT, "fields within `sampling_params`; give them beside the prompt"),
    ("parameters", NO_OBJECT, "fields within `parameters`; give them beside the prompt"),
    ("extra_body", NO_OBJECT, "fields within `extra_body`; give them beside the prompt"),
    ("vllm_xargs", NO_OBJECT, "arguments of another engine"),
    ("repetition_detection", NO_OBJECT, "ending an answer that repeats itself"),
    (
        "thinking_token_budget",
        &["-1"],
        "a limit of thoughts; `chat_template_kwargs` may switch them off",
    ),
    ("detokenize", ON, "answers without text"),
    ("flat_logprobs", OFF, "results of another shape"),
    (
        "logprob_token_ids",
        NO_LIST,
        "log-probabilities of chosen tokens; `logprobs` has the most probable",
    ),
    (
        "token_ids_logprob",
        NO_LIST,
        "log-probabilities of chosen tokens; `logprobs` has the most probable",
    ),
    (
        "return_logprob",
        OFF,
        "`return_logprob`; `logprobs` asks for the answer's, `prompt_logprobs` for the prompt's",
    ),
    ("top_logprobs_num", ZERO, "`top_logprobs_num`; `top_logprobs` says how many alternatives"),
    ("return_text_in_logprobs", &["true", "false"], "`return_text_in_logprobs`"),
    ("return_meta_info", OFF, "results of another shape"),
    ("return_prompt_token_ids", OFF, "token ids in results"),
    ("return_routed_experts", OFF, "results of another shape"),
    ("details", OFF, "`details`; `logprobs` has the answer's tokens"),
    (
        "decoder_input_details",
        OFF,
        "`decoder_input_details`; `prompt_logprobs` has the prompt's tokens",
    ),
    ("output_scores", OFF, "scores in results; `logprobs` has the tokens' log-probabilities"),
    ("output_logits", OFF, "logits in results; `logprobs` has the tokens' log-probabilities"),
    ("output_attentions", OFF, "attention in results; --save-activations draws it"),
    ("output_hidden_states", OFF, "hidden states in results"),
    ("stop_regex", NO_LIST, "ending an answer by an expression; `stop` takes texts"),
    ("custom_params", NO_OBJECT, "code of a request's own"),
    ("input_ids", NO_LIST, "`input_ids`; `prompt` takes token ids"),
    ("inputs", NONE, "`inputs`; `prompt` takes the text"),
    ("input_extra", NO_LIST, "texts beside the prompt"),
    ("multimodal_data", NO_LIST, "pictures"),
    ("video_data", NO_LIST, "pictures"),
    ("audio_data", NO_LIST, "sounds"),
    ("media_io_kwargs", NO_OBJECT, "pictures"),
    ("raw", OFF, "`raw`; a prompt with `prompt` is given as it is"),
    ("template", NO_TEXT, "another chat template than the model's"),
    ("instruction_template", NO_TEXT, "another chat template than the model's"),
    ("prompt_template", NO_TEXT, "another chat template than the model's"),
    ("tool_prompt", NO_TEXT, "calling tools"),
    ("guideline", NO_TEXT, "a guideline; give it as a message"),
    ("instructions", NO_TEXT, "`instructions`; give them as the first message"),
    ("context", NO_LIST, "keys and values from elsewhere"),
    (
        "generation_prompt",
        NO_TEXT,
        "beginning the answer; `continue_final_message` goes on with a message",
    ),
    ("grammar_lazy", OFF, "forcing the form of an answer"),
    ("grammar_triggers", NO_LIST, "forcing the form of an answer"),
    ("preserved_tokens", NO_LIST, "forcing the form of an answer"),
    ("force_words_ids", NO_LIST, "forcing the form of an answer"),
    ("constraints", NO_LIST, "forcing the form of an answer"),
    ("verbosity", &["\"medium\""], "a length in words; `max_tokens` limits the answer"),
    ("t_max_prompt_ms", &["0", "-1"], "a limit of time"),
    ("shift", OFF, "shifting the context"),
    ("truncation_length", NONE, "cutting prompts to a length"),
    ("max_context_length", NONE, "a context of a request's own; --context sets that of the run"),
    ("min_length", ZERO, "a length of prompt and answer together; `min_tokens` is the answer's"),
    ("num_return_sequences", ONE, "`num_return_sequences`; `n` is the same"),
    ("n_cmpl", ONE, "`n_cmpl`; `n` is the same"),
    ("num_beam_groups", ONE, "beam search"),
    ("diversity_penalty", ZERO, "beam search"),
    ("sequence_bias", NO_OBJECT, "`sequence_bias`; `logit_bias` favours tokens"),
    ("forced_bos_token_id", NONE, "forcing a token"),
    ("forced_eos_token_id", NONE, "forcing a token"),
    ("suppress_tokens", NO_LIST, "forbidding tokens; a `logit_bias` of -100 does"),
    ("begin_suppress_tokens", NO_LIST, "forbidding tokens; a `logit_bias` of -100 does"),
    ("banned_tokens", NO_LIST, "forbidding tokens; a `logit_bias` of -100 does"),
    ("custom_token_bans", NO_TEXT, "forbidding tokens; a `logit_bias` of -100 does"),
    ("banned_strings", NO_LIST, "forbidding words; `logit_bias` forbids tokens"),
    ("allowed_tokens", NO_LIST, "allowing some tokens alone; `logit_bias` favours tokens"),
    ("exponential_decay_length_penalty", NO_LIST, "a penalty of the answer's length"),
    ("encoder_no_repeat_ngram_size", ZERO, "forbidding repeated sequences"),
    ("renormalize_logits", &["true", "false"], "`renormalize_logits`"),
    ("remove_invalid_values", OFF, "passing over logits that are no numbers"),
    ("eos_token_id", NONE, "another end token than the model's; `stop_token_ids` adds some"),
    ("bos_token_id", NONE, "another first token than the model's; `prompt` takes token ids"),
    ("prompt_lookup_num_tokens", ZERO, "guessing ahead"),
    ("token_healing", OFF, "mending the prompt's last token"),
    ("dola_layers", NONE, "comparing layers"),
    ("watermarking_config", NO_OBJECT, "watermarks"),
    ("top_h", ONE, "top-h sampling"),
    ("ban_eos_token", OFF, "`ban_eos_token`; `ignore_eos` goes on behind the end"),
    ("bypass_eos", OFF, "`bypass_eos`; `ignore_eos` goes on behind the end"),
    ("add_bos_token", ON, "prompts without their first token; `prompt` takes token ids"),
    ("skew", ZERO, "skewed sampling"),
    ("min_temp", ZERO, "a temperature that changes"),
    ("max_temp", ONE, "a temperature that changes"),
    ("rep_pen", ONE, "`rep_pen`; `repeat_penalty` is the same"),
    ("rep_pen_range", ZERO, "`rep_pen_range`; `repeat_last_n` is the same"),
    ("rep_pen_slope", ZERO, "a penalty that grows"),
    ("repetition_range", ZERO, "`repetition_range`; `repeat_last_n` is the same"),
    ("repetition_decay", ZERO, "a penalty that fades"),
    ("penalize_newline", ON, "sparing line breaks from the penalties"),
    ("sampler_seed", &["-1"], "`sampler_seed`; `seed` is the same"),
    ("memory", NO_TEXT, "a text before the prompt"),
    ("trim_stop", ON, "`trim_stop`; `include_stop_str_in_output` keeps it"),
    ("render_special", OFF, "`render_special`; `skip_special_tokens` writes them out"),
    ("lora_request", NO_OBJECT, "adapters under this name; `lora` names those of --lora NAME=FILE"),
    ("loras", NO_LIST, "adapters under this name; `lora` names those of --lora NAME=FILE"),
];

/// Whether a field is one of these; that one asks for something is noted.
pub(super) fn is_of_others(field: &At<'_>) -> bool {
    let name = field.name();
    if WITHOUT_EFFECT.contains(&name) {
        return true;
    }
    let Some((_, neutral, what)) = REFUSED.iter().find(|(other, ..)| *other == name) else {
        return false;
    };
    let is = |value: &Value, json: &&str| {
        serde_json::from_str::<Value>(json).is_ok_and(|neutral| same(value, &neutral))
    };
    let asks_nothing = field.is_null()
        || serde_json::from_str::<Value>(field.json())
            .is_ok_and(|value| neutral.iter().any(|json| is(&value, json)));
    if !asks_nothing {
        unsupported(field, what);
    }
    true
}

/// Whether two values are equal, numbers by their value: 1.0 is 1.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_listed_once_and_every_neutral_value_is_json() {
        let mut names: Vec<&str> = REFUSED.iter().map(|(name, ..)| *name).collect();
        names.extend(WITHOUT_EFFECT);
        names.extend(super::super::options::NAMES);
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for json in REFUSED.iter().flat_map(|(_, neutral, _)| *neutral) {
            assert!(serde_json::from_str::<Value>(json).is_ok(), "{json}");
        }
    }
}
