// Weights stored as Q4_0: lines of a row group, and one block of 32 columns.
#define_import_path pixel_llm::encodings::q4_0
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Weights
#import pixel_llm::bytes::half_at
#import pixel_llm::nibbles::nibbles

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::nibbles::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n + (n + 7u) / 8u; }
fn weights_at(r: Row, c: u32, n: u32) -> Weights {
  let d = half_at(texel(r, n + (c >> 3u)), c & 7u);
  return Weights(nibbles(texel(r, c)), vec2<f32>(d), vec2<f32>(-8.0 * d));
}
