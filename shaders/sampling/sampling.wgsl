// How the next token is sampled, field for field as in src/forward/params.rs and
// src/forward/sampling/params.rs.
#define_import_path pixel_llm::sampling

struct SampleParams {
    // Workgroups of the logits kernel per row of logits, each of 64 tokens.
    groups: u32,
    // Words per row in `sampled`: a count, then tokens.
    stride: u32,
    // The most rows of logits.
    rows: u32,
    vocabulary: u32,
}

struct SamplingWords {
    key: vec2<u32>,
    index: u32,
    top_k: u32,
    temperature: f32,
    top_p: f32,
    min_p: f32,
    repeat_penalty: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    window_start: u32,
    window_len: u32,
    bias_start: u32,
    bias_len: u32,
    window_limit: u32,
    padding: u32,
}
