// Weights stored as Q4_0: nibbles from -8, a scale.
#define_import_path pixel_llm::encodings::q4_0
#import pixel_llm::page::{Row, texel}
#import pixel_llm::weights::{Weight, Weights, weight_of}
#import pixel_llm::bytes::half_at
#import pixel_llm::nibbles::{nibble, nibbles}

fn prescale(lane: u32) -> vec4<f32> {
    return pixel_llm::nibbles::prescale(lane);
}

fn lines_of(n: u32) -> u32 {
    return n + (n + 7u) / 8u;
}

fn scale_and_offset(r: Row, c: u32, n: u32) -> vec2<f32> {
    let d = half_at(texel(r, n + (c >> 3u)), c & 7u);
    return vec2<f32>(d, -8.0 * d);
}

fn weights_at(r: Row, c: u32, n: u32) -> Weights {
    let s = scale_and_offset(r, c, n);
    return Weights(nibbles(texel(r, c)), s.xx, s.yy);
}

fn weight_at(r: Row, c: u32, i: u32, n: u32) -> Weight {
    return weight_of(nibble(texel(r, c), i), scale_and_offset(r, c, n), c, i & 15u);
}
