// Weights stored as Q5_1: five bits, a scale and a minimum.
#define_import_path pixel_llm::encodings::q5_1
#import pixel_llm::page::{Row, texel}
#import pixel_llm::weights::{Weight, Weights, weight_of}
#import pixel_llm::fifth_bit::{five, fives}

fn prescale(lane: u32) -> vec4<f32> {
    return pixel_llm::bytes::prescale(lane);
}

fn lines_of(n: u32) -> u32 {
    return n + (n + 3u) / 4u * 2u;
}

fn scale_and_offset(r: Row, c: u32, n: u32) -> vec2<f32> {
    return unpack2x16float(texel(r, n + (n + 3u) / 4u + (c >> 2u))[c & 3u]);
}

fn fifth_bits(r: Row, c: u32, n: u32) -> u32 {
    return texel(r, n + (c >> 2u))[c & 3u];
}

fn weights_at(r: Row, c: u32, n: u32) -> Weights {
    let s = scale_and_offset(r, c, n);
    return Weights(fives(texel(r, c), fifth_bits(r, c, n)), s.xx, s.yy);
}

fn weight_at(r: Row, c: u32, i: u32, n: u32) -> Weight {
    let code = five(texel(r, c), fifth_bits(r, c, n), i);
    return weight_of(code, scale_and_offset(r, c, n), c, i & 15u);
}
