// Weights stored as F32: four to a texel.
#define_import_path pixel_llm::encodings::f32
#import pixel_llm::page::{Row, texel}
#import pixel_llm::weights::{Weight, Weights, weight_of_float}

fn prescale(lane: u32) -> vec4<f32> {
    return vec4<f32>(1.0);
}

fn lines_of(n: u32) -> u32 {
    return n * 8u;
}

fn four(r: Row, line: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(texel(r, line));
}

fn weights_at(r: Row, c: u32, n: u32) -> Weights {
    let i = c * 8u;
    let codes = array<vec4<f32>, 8>(
        four(r, i), four(r, i + 1u), four(r, i + 2u), four(r, i + 3u),
        four(r, i + 4u), four(r, i + 5u), four(r, i + 6u), four(r, i + 7u),
    );
    return Weights(codes, vec2<f32>(1.0), vec2<f32>(0.0));
}

fn weight_at(r: Row, c: u32, i: u32, n: u32) -> Weight {
    let line = c * 8u + (i >> 2u);
    return weight_of_float(four(r, line)[i & 3u], 23.0, line, (i & 3u) * 4u);
}
