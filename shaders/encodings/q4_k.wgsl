// Weights stored as Q4_K: lines of a row group, one block of 32 columns times activations, and the block itself.
#define_import_path pixel_llm::encodings::q4_k
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Block
#import pixel_llm::bytes::{dot_bytes, affine}
#import pixel_llm::k_scales::scale_and_minimum

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::bytes::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n + n / 8u; }
struct Words { p: vec4<u32>, q: vec4<u32> }
fn words(r: Row, c: u32, n: u32) -> Words {
  // Two sub-blocks share 32 bytes: the even one the low nibbles, the odd one the high ones.
  let shift = vec4<u32>((c & 1u) * 4u);
  let p = (texel(r, c & 0xFFFFFFFEu) >> shift) & vec4<u32>(0x0F0F0F0Fu);
  let q = (texel(r, c | 1u) >> shift) & vec4<u32>(0x0F0F0F0Fu);
  return Words(p, q);
}
fn scales(r: Row, c: u32, n: u32) -> vec2<f32> { return scale_and_minimum(texel(r, n + (c >> 3u)), c & 7u); }
fn dot_block(r: Row, c: u32, n: u32, b: Block) -> f32 {
  let w = words(r, c, n);
  let t = ((dot_bytes(w.p.x, b.x[0]) + dot_bytes(w.p.y, b.x[1])) + (dot_bytes(w.p.z, b.x[2]) + dot_bytes(w.p.w, b.x[3])))
        + ((dot_bytes(w.q.x, b.x[4]) + dot_bytes(w.q.y, b.x[5])) + (dot_bytes(w.q.z, b.x[6]) + dot_bytes(w.q.w, b.x[7])));
  let s = scales(r, c, n);
  return s.x * t - s.y * (b.low + b.high);
}
fn decode_block(r: Row, c: u32, n: u32) -> array<vec4<f32>, 8> {
  let w = words(r, c, n);
  let s = scales(r, c, n);
  return affine(w.p, w.q, s.xx, -s.yy);
}
