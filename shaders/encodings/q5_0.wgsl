// Weights stored as Q5_0: five bits from -16, a scale.
#define_import_path pixel_llm::encodings::q5_0
#import pixel_llm::page::{Row, texel}
#import pixel_llm::weights::{Weight, Weights, weight_of}
#import pixel_llm::bytes::half_at
#import pixel_llm::fifth_bit::{five, fives}

fn prescale(lane: u32) -> vec4<f32> {
    return pixel_llm::bytes::prescale(lane);
}

fn lines_of(n: u32) -> u32 {
    return n + (n + 3u) / 4u + (n + 7u) / 8u;
}

fn scale_and_offset(r: Row, c: u32, n: u32) -> vec2<f32> {
    let d = half_at(texel(r, n + (n + 3u) / 4u + (c >> 3u)), c & 7u);
    return vec2<f32>(d, -16.0 * d);
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
