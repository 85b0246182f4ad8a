// Weights stored as Q4_K: lines of a row group, and one block of 32 columns.
#define_import_path pixel_llm::encodings::q4_k
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Weights
#import pixel_llm::bytes::bytes
#import pixel_llm::k_scales::scale_and_minimum

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::bytes::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n + n / 8u; }
fn weights_at(r: Row, c: u32, n: u32) -> Weights {
  // Two sub-blocks share 32 bytes: the even one the low nibbles, the odd one the high ones.
  let shift = vec4<u32>((c & 1u) * 4u);
  let p = (texel(r, c & 0xFFFFFFFEu) >> shift) & vec4<u32>(0x0F0F0F0Fu);
  let q = (texel(r, c | 1u) >> shift) & vec4<u32>(0x0F0F0F0Fu);
  let s = scale_and_minimum(texel(r, n + (c >> 3u)), c & 7u);
  return Weights(bytes(p, q), s.xx, -s.yy);
}
