// Weights stored as Q6_K: lines of a row group, and one block of 32 columns.
#define_import_path pixel_llm::encodings::q6_k
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Weights
#import pixel_llm::bytes::{half_at, bytes}

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::bytes::prescale(lane); }
fn lines_of(n: u32) -> u32 { let s = n / 8u; return s * 13u + (s + 7u) / 8u; }
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
  let s = scales(r, c, n);
  return Weights(bytes(p, q), s, -32.0 * s);
}
