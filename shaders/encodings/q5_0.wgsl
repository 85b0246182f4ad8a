// Weights stored as Q5_0: lines of a row group, one block of 32 columns times activations, and the block itself.
#define_import_path pixel_llm::encodings::q5_0
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Block
#import pixel_llm::bytes::half_at
#import pixel_llm::fifth_bit::{dot_fives, decode_fives}

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::bytes::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n + (n + 3u) / 4u + (n + 7u) / 8u; }
fn dot_block(r: Row, c: u32, n: u32, b: Block) -> f32 {
  let t = dot_fives(texel(r, c), texel(r, n + (c >> 2u))[c & 3u], b);
  return half_at(texel(r, n + (n + 3u) / 4u + (c >> 3u)), c & 7u) * (t - 16.0 * (b.low + b.high));
}
fn decode_block(r: Row, c: u32, n: u32) -> array<vec4<f32>, 8> {
  let d = half_at(texel(r, n + (n + 3u) / 4u + (c >> 3u)), c & 7u);
  return decode_fives(texel(r, c), texel(r, n + (c >> 2u))[c & 3u], d, -16.0 * d);
}
