// The parameter structs of the kernels, field for field those of src/forward/params.rs.
#define_import_path pixel_llm::types

struct MatrixParams {
    rows: u32,
    columns: u32,
    encoding: u32,
    first_tile: u32,
    first_line: u32,
    lines_per_row_group: u32,
    row_groups_per_tile: u32,
    columns_per_tile: u32,
}

struct RopeParams {
    size: u32,
    kind: u32,
    scaling: u32,
    original_context: u32,
    base: f32,
    factor: f32,
    attention_factor: f32,
    padding: u32,
}

struct EmbedParams {
    matrix: MatrixParams,
    columns: u32,
    padding_a: u32,
    padding_b: u32,
    padding_c: u32,
}

struct QkvParams {
    query: MatrixParams,
    key: MatrixParams,
    value: MatrixParams,
    rope: RopeParams,
    columns: u32,
    layer: u32,
    head_size: u32,
    norm_epsilon: f32,
    has_biases: u32,
    has_head_norms: u32,
    padding: vec2<u32>,
}

struct AttendParams {
    columns: u32,
    layer: u32,
    head_count: u32,
    heads_per_kv: u32,
    head_size: u32,
    score_scale: f32,
    padding: vec2<u32>,
}

struct ProjectParams {
    matrix: MatrixParams,
    columns: u32,
    head_count: u32,
    head_size: u32,
    layer_scale: f32,
}

struct GateUpParams {
    gate: MatrixParams,
    up: MatrixParams,
    columns: u32,
    norm_epsilon: f32,
    padding: vec2<u32>,
}

struct DownParams {
    matrix: MatrixParams,
    columns: u32,
    layer_scale: f32,
    padding: vec2<u32>,
}

struct LayerParams {
    qkv: QkvParams,
    attend: AttendParams,
    project: ProjectParams,
    gate_up: GateUpParams,
    down: DownParams,
}

struct LogitsParams {
    matrix: MatrixParams,
    columns: u32,
    norm_epsilon: f32,
    // The row group that the first workgroup computes, and row groups of the whole matrix.
    first_group: u32,
    groups: u32,
}

struct ChangeParams {
    features: u32,
    columns: u32,
    scale: f32,
    is_residual: u32,
    residual: u32,
    scaled: u32,
    squares: u32,
    gain: u32,
}
