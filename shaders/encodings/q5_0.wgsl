// Weights stored as Q5_0: lines of a row group, and one block of 32 columns.
#define_import_path pixel_llm::encodings::q5_0
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Weights
#import pixel_llm::bytes::half_at
#import pixel_llm::fifth_bit::fives

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::bytes::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n + (n + 3u) / 4u + (n + 7u) / 8u; }
fn weights_at(r: Row, c: u32, n: u32) -> Weights {
  let d = half_at(texel(r, n + (n + 3u) / 4u + (c >> 3u)), c & 7u);
  return Weights(fives(texel(r, c), texel(r, n + (c >> 2u))[c & 3u]), vec2<f32>(d), vec2<f32>(-16.0 * d));
}
