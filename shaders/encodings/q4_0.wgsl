// Weights stored as Q4_0: lines of a row group, one block of 32 columns times activations, and the block itself.
#define_import_path pixel_llm::encodings::q4_0
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Block
#import pixel_llm::nibbles::{half_at, dot_nibbles, decode_nibbles}

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::nibbles::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n + (n + 7u) / 8u; }
fn dot_block(r: Row, c: u32, n: u32, b: Block) -> f32 {
  let t = dot_nibbles(texel(r, c), b);
  return half_at(texel(r, n + (c >> 3u)), c & 7u) * (t - 8.0 * (b.low + b.high));
}
fn decode_block(r: Row, c: u32, n: u32) -> array<vec4<f32>, 8> {
  let d = half_at(texel(r, n + (c >> 3u)), c & 7u);
  return decode_nibbles(texel(r, c), d, -8.0 * d);
}
