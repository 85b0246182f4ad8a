// Weights stored as Q6_K: six bits from -32; per 16 weights a signed byte as scale, times a half
// per super-block.
#define_import_path pixel_llm::encodings::q6_k
#import pixel_llm::page::{Row, texel}
#import pixel_llm::weights::{Weight, Weights, byte_of, weight_of}
#import pixel_llm::bytes::{half_at, bytes}

fn prescale(lane: u32) -> vec4<f32> {
    return pixel_llm::bytes::prescale(lane);
}

fn lines_of(n: u32) -> u32 {
    let s = n / 8u;
    return s * 13u + (s + 7u) / 8u;
}

// The line of sixteen low nibbles. Of the four blocks of half a super-block, the first and third
// share their bytes, and the second and fourth theirs.
fn line_of(c: u32, half: u32) -> u32 {
    return (c >> 3u) * 8u + ((c >> 2u) & 1u) * 4u + (c & 1u) * 2u + half;
}

// Sixteen codes, a byte each.
fn codes(r: Row, c: u32, half: u32, n: u32) -> vec4<u32> {
    let k = c & 3u;
    let low = texel(r, line_of(c, half)) >> vec4<u32>((k >> 1u) * 4u);
    let line = n + (c >> 3u) * 4u + ((c >> 2u) & 1u) * 2u + half;
    let high = texel(r, line) >> vec4<u32>(k * 2u);
    let upper = (high & vec4<u32>(0x03030303u)) << vec4<u32>(4u);
    return (low & vec4<u32>(0x0F0F0F0Fu)) | upper;
}

// The scales of both halves.
fn scales(r: Row, c: u32, n: u32) -> vec2<f32> {
    let superblock = c >> 3u;
    // Sixteen signed scales, two for these 32 weights, side by side in one word.
    let i = (c & 7u) * 2u;
    let word = texel(r, n + n / 2u + superblock)[i >> 2u] >> ((i & 2u) * 8u);
    let s0 = f32(i32(word << 24u) >> 24u);
    let s1 = f32(i32(word << 16u) >> 24u);
    let d = half_at(texel(r, n + n / 2u + n / 8u + (superblock >> 3u)), superblock & 7u);
    return d * vec2<f32>(s0, s1);
}

fn weights_at(r: Row, c: u32, n: u32) -> Weights {
    let s = scales(r, c, n);
    return Weights(bytes(codes(r, c, 0u, n), codes(r, c, 1u, n)), s, -32.0 * s);
}

fn weight_at(r: Row, c: u32, i: u32, n: u32) -> Weight {
    let half = i >> 4u;
    let code = byte_of(codes(r, c, half, n), i & 15u);
    let both = scales(r, c, n);
    let s = select(both.x, both.y, half == 1u);
    return weight_of(code, vec2<f32>(s, -32.0 * s), line_of(c, half), i & 15u);
}
