// What every kernel of a layer is bound to, the same for all of them.
#define_import_path pixel_llm::layer_bindings
#import pixel_llm::types::LayerParams

@group(0) @binding(4) var<uniform> layer: LayerParams;
// Weight of the norm after attention, then that of the next layer's first norm or the last one.
@group(0) @binding(5) var<storage, read> gains: array<vec4<f32>>;
// Biases of query, key and value, then the norm of a head's query and that of its key, then biases
// of the attention's output, of gate, up and down. Zeros where a layer has none.
@group(0) @binding(6) var<storage, read> vectors: array<vec4<f32>>;
// Cosine and sine of every pair, by position: two pairs per quad.
@group(0) @binding(7) var<storage, read> angles: array<vec4<f32>>;
// Token, position, first row of its sequence in the cache, its sequence.
@group(0) @binding(8) var<storage, read> columns: array<vec4<u32>>;
// A factor per layer and head.
@group(0) @binding(11) var<storage, read> head_scale: array<f32>;

fn column_at(column: u32) -> vec4<u32> {
    return columns[min(column, arrayLength(&columns) - 1u)];
}

fn vector_at(i: u32) -> vec4<f32> {
    return vectors[min(i, arrayLength(&vectors) - 1u)];
}

// The first quad of the biases of the attention's output.
fn output_biases() -> u32 {
    let qkv = layer.qkv;
    return (qkv.query.rows + qkv.key.rows + qkv.value.rows + 2u * qkv.head_size) >> 2u;
}

// The first quad of the biases of gate; those of up come next.
fn hidden_biases() -> u32 {
    return output_biases() + (layer.project.matrix.rows >> 2u);
}

// The first quad of the biases of down.
fn down_biases() -> u32 {
    return hidden_biases() + (layer.gate_up.gate.rows >> 2u) * 2u;
}
