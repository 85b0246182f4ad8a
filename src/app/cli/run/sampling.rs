//! How tokens are chosen and when an answer ends: the options that a run and a chat share.

use clap::Args;

use crate::forward::sampling::{
    MIN_P, PENALTY, REPEAT_PENALTY, Range, SamplingParams, TEMPERATURE, TOP_P,
};

/// How tokens are chosen.
#[derive(Clone, Debug, Args)]
pub struct SamplingArgs {
    /// The most tokens of an answer; 0 only looks at the prompt [default: 256, in a chat 1024].
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub max_tokens: Option<u32>,
    /// How freely to choose: 0 always takes the most probable token.
    #[arg(
        long,
        value_name = "T",
        default_value_t = SamplingParams::default().temperature,
        value_parser = ranged(&TEMPERATURE),
        help_heading = "Sampling"
    )]
    pub temperature: f32,
    /// Choose among this many of the most probable tokens; 0 is all.
    #[arg(
        long,
        value_name = "K",
        default_value_t = SamplingParams::default().top_k,
        hide_short_help = true,
        help_heading = "Sampling"
    )]
    pub top_k: u32,
    /// Choose among the most probable tokens that together have this share; 1 is all,
    /// 0 is one.
    #[arg(
        long,
        value_name = "P",
        default_value_t = SamplingParams::default().top_p,
        value_parser = ranged(&TOP_P),
        help_heading = "Sampling"
    )]
    pub top_p: f32,
    /// Choose among tokens at least this probable, relative to the most probable; 0 is all.
    #[arg(
        long,
        value_name = "P",
        default_value_t = SamplingParams::default().min_p,
        value_parser = ranged(&MIN_P),
        hide_short_help = true,
        help_heading = "Sampling"
    )]
    pub min_p: f32,
    /// Make tokens that came before less probable, by this factor; 1 is off.
    #[arg(
        long,
        value_name = "X",
        default_value_t = SamplingParams::default().repeat_penalty,
        value_parser = ranged(&REPEAT_PENALTY),
        hide_short_help = true,
        help_heading = "Sampling"
    )]
    pub repeat_penalty: f32,
    /// Make tokens less probable with every time they came before; 0 is off.
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        value_parser = ranged(&PENALTY),
        allow_negative_numbers = true,
        hide_short_help = true,
        help_heading = "Sampling"
    )]
    pub frequency_penalty: f32,
    /// Make tokens less probable once they came before; 0 is off.
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        value_parser = ranged(&PENALTY),
        allow_negative_numbers = true,
        hide_short_help = true,
        help_heading = "Sampling"
    )]
    pub presence_penalty: f32,
    /// How many of the last tokens the three penalties look at.
    #[arg(
        long,
        value_name = "N",
        default_value_t = SamplingParams::default().repeat_last_n,
        hide_short_help = true,
        help_heading = "Sampling"
    )]
    pub repeat_last_n: u32,
    /// The same seed gives the same text, whatever runs beside it.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Sampling")]
    pub seed: u64,
    /// End an answer before this text; may be given several times.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "Sampling")]
    pub stop: Vec<String>,
}

impl SamplingArgs {
    /// How to choose tokens.
    pub fn params(&self) -> SamplingParams {
        SamplingParams {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            repeat_last_n: self.repeat_last_n,
            seed: self.seed,
            logit_bias: Vec::new(),
        }
    }

    /// The texts that end an answer.
    pub fn stops(&self) -> Vec<String> {
        // The empty text is found in any answer at once.
        self.stop.iter().filter(|stop| !stop.is_empty()).cloned().collect()
    }
}

/// A parser of numbers within a range.
fn ranged(
    range: &'static Range,
) -> impl Fn(&str) -> Result<f32, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse::<f32>() {
        Ok(value) if range.holds(f64::from(value)) => Ok(value),
        _ => Err(format!("expected {}", range.text)),
    }
}
