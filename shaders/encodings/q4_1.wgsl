// Weights stored as Q4_1: nibbles, a scale and a minimum.
#define_import_path pixel_llm::encodings::q4_1
#import pixel_llm::page::{Row, texel}
#import pixel_llm::weights::{Weight, Weights, weight_of}
#import pixel_llm::nibbles::{nibble, nibbles}

fn prescale(lane: u32) -> vec4<f32> {
    return pixel_llm::nibbles::prescale(lane);
}

fn lines_of(n: u32) -> u32 {
    return n + (n + 3u) / 4u;
}

fn scale_and_offset(r: Row, c: u32, n: u32) -> vec2<f32> {
    return unpack2x16float(texel(r, n + (c >> 2u))[c & 3u]);
}

fn weights_at(r: Row, c: u32, n: u32) -> Weights {
    let s = scale_and_offset(r, c, n);
    return Weights(nibbles(texel(r, c)), s.xx, s.yy);
}

fn weight_at(r: Row, c: u32, i: u32, n: u32) -> Weight {
    return weight_of(nibble(texel(r, c), i), scale_and_offset(r, c, n), c, i & 15u);
}
