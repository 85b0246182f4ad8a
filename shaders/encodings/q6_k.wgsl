// Weights stored as Q6_K: lines of a row group, one block of 32 columns times activations, and the block itself.
#define_import_path pixel_llm::encodings::q6_k
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Block
#import pixel_llm::bytes::{half_at, dot_bytes, affine}

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::bytes::prescale(lane); }
fn lines_of(n: u32) -> u32 { let s = n / 8u; return s * 13u + (s + 7u) / 8u; }
struct Words { p: vec4<u32>, q: vec4<u32> }
fn words(r: Row, c: u32, n: u32) -> Words {
  let superblock = c >> 3u;
  // Half of 128 weights, and which 32 of them.
  let half = (c >> 2u) & 1u;
  let k = c & 3u;
  let low = superblock * 8u + half * 4u + (k & 1u) * 2u;
  let high = n + superblock * 4u + half * 2u;
  let shift = vec4<u32>((k >> 1u) * 4u);
  let high_shift = vec4<u32>(k * 2u);
  let p = ((texel(r, low) >> shift) & vec4<u32>(0x0F0F0F0Fu)) | (((texel(r, high) >> high_shift) & vec4<u32>(0x03030303u)) << vec4<u32>(4u));
  let q = ((texel(r, low + 1u) >> shift) & vec4<u32>(0x0F0F0F0Fu)) | (((texel(r, high + 1u) >> high_shift) & vec4<u32>(0x03030303u)) << vec4<u32>(4u));
  return Words(p, q);
}
fn scales(r: Row, c: u32, n: u32) -> vec2<f32> {
  let superblock = c >> 3u;
  let half = (c >> 2u) & 1u;
  let k = c & 3u;
  // Sixteen signed scales, two for these 32 weights, side by side in one word.
  let i = half * 8u + k * 2u;
  let word = texel(r, n + n / 2u + superblock)[i >> 2u] >> ((i & 2u) * 8u);
  let s0 = f32(i32(word << 24u) >> 24u);
  let s1 = f32(i32(word << 16u) >> 24u);
  let d = half_at(texel(r, n + n / 2u + n / 8u + (superblock >> 3u)), superblock & 7u);
  return d * vec2<f32>(s0, s1);
}
fn dot_block(r: Row, c: u32, n: u32, b: Block) -> f32 {
  let w = words(r, c, n);
  let t = (dot_bytes(w.p.x, b.x[0]) + dot_bytes(w.p.y, b.x[1])) + (dot_bytes(w.p.z, b.x[2]) + dot_bytes(w.p.w, b.x[3]));
  let u = (dot_bytes(w.q.x, b.x[4]) + dot_bytes(w.q.y, b.x[5])) + (dot_bytes(w.q.z, b.x[6]) + dot_bytes(w.q.w, b.x[7]));
  let s = scales(r, c, n);
  return s.x * (t - 32.0 * b.low) + s.y * (u - 32.0 * b.high);
}
fn decode_block(r: Row, c: u32, n: u32) -> array<vec4<f32>, 8> {
  let w = words(r, c, n);
  let s = scales(r, c, n);
  return affine(w.p, w.q, s, -32.0 * s);
}
