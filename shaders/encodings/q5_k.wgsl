// Weights stored as Q5_K: lines of a row group, and one block of 32 columns.
#define_import_path pixel_llm::encodings::q5_k
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Weights
#import pixel_llm::bytes::bytes
#import pixel_llm::k_scales::scale_and_minimum

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::bytes::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n + n / 8u * 3u; }
fn weights_at(r: Row, c: u32, n: u32) -> Weights {
  let shift = vec4<u32>((c & 1u) * 4u);
  // Bit s of the 32 high bytes is the fifth bit of sub-block s.
  let bit = vec4<u32>(c & 7u);
  let high = n + (c >> 3u) * 2u;
  let hp = ((texel(r, high) >> bit) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
  let hq = ((texel(r, high + 1u) >> bit) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
  let p = ((texel(r, c & 0xFFFFFFFEu) >> shift) & vec4<u32>(0x0F0F0F0Fu)) | hp;
  let q = ((texel(r, c | 1u) >> shift) & vec4<u32>(0x0F0F0F0Fu)) | hq;
  let s = scale_and_minimum(texel(r, n + n / 4u + (c >> 3u)), c & 7u);
  return Weights(bytes(p, q), s.xx, -s.yy);
}
