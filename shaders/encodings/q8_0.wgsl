// Weights stored as Q8_0: signed bytes, a scale.
#define_import_path pixel_llm::encodings::q8_0
#import pixel_llm::page::{Row, texel}
#import pixel_llm::weights::{Weight, Weights, byte_of, weight_of}
#import pixel_llm::bytes::{half_at, bytes}

fn prescale(lane: u32) -> vec4<f32> {
    return pixel_llm::bytes::prescale(lane);
}

fn lines_of(n: u32) -> u32 {
    return n * 2u + (n + 7u) / 8u;
}

// Flipping the sign bits makes the bytes unsigned, 128 too large.
fn codes(r: Row, line: u32) -> vec4<u32> {
    return texel(r, line) ^ vec4<u32>(0x80808080u);
}

fn scale_and_offset(r: Row, c: u32, n: u32) -> vec2<f32> {
    let d = half_at(texel(r, n * 2u + (c >> 3u)), c & 7u);
    return vec2<f32>(d, -128.0 * d);
}

fn weights_at(r: Row, c: u32, n: u32) -> Weights {
    let s = scale_and_offset(r, c, n);
    return Weights(bytes(codes(r, c * 2u), codes(r, c * 2u + 1u)), s.xx, s.yy);
}

fn weight_at(r: Row, c: u32, i: u32, n: u32) -> Weight {
    let line = c * 2u + (i >> 4u);
    let code = byte_of(codes(r, line), i & 15u);
    return weight_of(code, scale_and_offset(r, c, n), line, i & 15u);
}
