// Weights stored as Q8_0: lines of a row group, one block of 32 columns times activations, and the block itself.
#define_import_path pixel_llm::encodings::q8_0
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Block
#import pixel_llm::bytes::{half_at, dot_bytes, affine}

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::bytes::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n * 2u + (n + 7u) / 8u; }
fn dot_block(r: Row, c: u32, n: u32, b: Block) -> f32 {
  // Flipping the sign bits makes the bytes unsigned, 128 too large.
  let p = texel(r, c * 2u) ^ vec4<u32>(0x80808080u);
  let q = texel(r, c * 2u + 1u) ^ vec4<u32>(0x80808080u);
  let t = ((dot_bytes(p.x, b.x[0]) + dot_bytes(p.y, b.x[1])) + (dot_bytes(p.z, b.x[2]) + dot_bytes(p.w, b.x[3])))
        + ((dot_bytes(q.x, b.x[4]) + dot_bytes(q.y, b.x[5])) + (dot_bytes(q.z, b.x[6]) + dot_bytes(q.w, b.x[7])));
  return half_at(texel(r, n * 2u + (c >> 3u)), c & 7u) * (t - 128.0 * (b.low + b.high));
}
fn decode_block(r: Row, c: u32, n: u32) -> array<vec4<f32>, 8> {
  let d = half_at(texel(r, n * 2u + (c >> 3u)), c & 7u);
  let flip = vec4<u32>(0x80808080u);
  return affine(texel(r, c * 2u) ^ flip, texel(r, c * 2u + 1u) ^ flip, vec2<f32>(d), vec2<f32>(-128.0 * d));
}
