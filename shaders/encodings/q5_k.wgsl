// Weights stored as Q5_K: as Q4_K, with a plane of fifth bits.
#define_import_path pixel_llm::encodings::q5_k
#import pixel_llm::page::{Row, texel}
#import pixel_llm::weights::{Weight, Weights, byte_of, weight_of}
#import pixel_llm::bytes::bytes
#import pixel_llm::k_scales::group_scale_and_offset

fn prescale(lane: u32) -> vec4<f32> {
    return pixel_llm::bytes::prescale(lane);
}

fn lines_of(n: u32) -> u32 {
    return n + n / 8u * 3u;
}

// Two blocks share the 32 bytes of two lines: the even one the low nibbles, the odd one the high
// ones.
fn line_of(c: u32, half: u32) -> u32 {
    return (c & 0xFFFFFFFEu) | half;
}

// Sixteen codes, a byte each. Bit s of the 32 bytes of fifth bits is that of block s.
fn codes(r: Row, c: u32, half: u32, n: u32) -> vec4<u32> {
    let shift = vec4<u32>((c & 1u) * 4u);
    let low = (texel(r, line_of(c, half)) >> shift) & vec4<u32>(0x0F0F0F0Fu);
    let fifth = texel(r, n + (c >> 3u) * 2u + half) >> vec4<u32>(c & 7u);
    return low | ((fifth & vec4<u32>(0x01010101u)) << vec4<u32>(4u));
}

fn scale_and_offset(r: Row, c: u32, n: u32) -> vec2<f32> {
    return group_scale_and_offset(texel(r, n + n / 4u + (c >> 3u)), c & 7u);
}

fn weights_at(r: Row, c: u32, n: u32) -> Weights {
    let s = scale_and_offset(r, c, n);
    return Weights(bytes(codes(r, c, 0u, n), codes(r, c, 1u, n)), s.xx, s.yy);
}

fn weight_at(r: Row, c: u32, i: u32, n: u32) -> Weight {
    let half = i >> 4u;
    let code = byte_of(codes(r, c, half, n), i & 15u);
    return weight_of(code, scale_and_offset(r, c, n), line_of(c, half), i & 15u);
}
