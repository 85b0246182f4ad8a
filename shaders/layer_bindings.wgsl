// What every kernel of a layer is bound to, the same for all of them.
#define_import_path pixel_llm::layer_bindings
#import pixel_llm::types::LayerParams

@group(0) @binding(4) var<uniform> layer: LayerParams;
// Weight of the norm after attention, then that of the next layer's first norm or the last one.
@group(0) @binding(5) var<storage, read> gains: array<vec4<f32>>;
// Biases of query, key and value, then the norm of a head's query and that of its key.
@group(0) @binding(6) var<storage, read> vectors: array<vec4<f32>>;
// Cosine and sine of every pair, by position: two pairs per quad.
@group(0) @binding(7) var<storage, read> angles: array<vec4<f32>>;
// Token, position, first row of its sequence in the cache, a spare word.
@group(0) @binding(8) var<storage, read> columns: array<vec4<u32>>;
// A factor per layer and head.
@group(0) @binding(11) var<storage, read> head_scale: array<f32>;

fn column_at(column: u32) -> vec4<u32> {
    return columns[min(column, arrayLength(&columns) - 1u)];
}
