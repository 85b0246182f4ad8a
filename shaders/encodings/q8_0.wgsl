// Weights stored as Q8_0: lines of a row group, and one block of 32 columns.
#define_import_path pixel_llm::encodings::q8_0
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Weights
#import pixel_llm::bytes::{half_at, bytes}

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::bytes::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n * 2u + (n + 7u) / 8u; }
fn weights_at(r: Row, c: u32, n: u32) -> Weights {
  let d = half_at(texel(r, n * 2u + (c >> 3u)), c & 7u);
  // Flipping the sign bits makes the bytes unsigned, 128 too large.
  let flip = vec4<u32>(0x80808080u);
  return Weights(bytes(texel(r, c * 2u) ^ flip, texel(r, c * 2u + 1u) ^ flip), vec2<f32>(d), vec2<f32>(-128.0 * d));
}
