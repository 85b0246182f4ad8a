// The encoding that a shader is compiled for. Kernels multiply with blocks of 32 weights, the
// drawing looks at one weight; both are decoded by the same file.
#define_import_path pixel_llm::encoding
#import pixel_llm::page::Row
#import pixel_llm::weights::{Weight, Weights}
// In the place of this line `forward::gpu::shaders` puts an import of each encoding of the table,
// of which one is compiled.
#import pixel_llm::encodings::CHOSEN as chosen

// What activation 4 * lane and the next three are multiplied with, so that bits need not be shifted
// into place.
fn prescale(lane: u32) -> vec4<f32> {
    return chosen::prescale(lane);
}

// Lines of a row group in a tile of `n` blocks of 32 columns.
fn lines_of(n: u32) -> u32 {
    return chosen::lines_of(n);
}

// Block `c` of a row in a tile of `n` blocks.
fn weights_at(r: Row, c: u32, n: u32) -> Weights {
    return chosen::weights_at(r, c, n);
}

// Weight `i` of that block.
fn weight_at(r: Row, c: u32, i: u32, n: u32) -> Weight {
    return chosen::weight_at(r, c, i, n);
}

// The values of a block of weights.
fn values_of(w: Weights) -> array<vec4<f32>, 8> {
    var values = w.codes;
    for (var i = 0u; i < 8u; i++) {
        let scale = select(w.scale.x, w.scale.y, i >= 4u);
        let offset = select(w.offset.x, w.offset.y, i >= 4u);
        values[i] = values[i] * prescale(i) * scale + offset;
    }
    return values;
}
