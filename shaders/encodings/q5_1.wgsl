// Weights stored as Q5_1: lines of a row group, one block of 32 columns times activations, and the block itself.
#define_import_path pixel_llm::encodings::q5_1
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Block
#import pixel_llm::fifth_bit::{dot_fives, decode_fives}

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::bytes::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n + (n + 3u) / 4u * 2u; }
fn dot_block(r: Row, c: u32, n: u32, b: Block) -> f32 {
  let t = dot_fives(texel(r, c), texel(r, n + (c >> 2u))[c & 3u], b);
  let dm = unpack2x16float(texel(r, n + (n + 3u) / 4u + (c >> 2u))[c & 3u]);
  return dm.x * t + dm.y * (b.low + b.high);
}
fn decode_block(r: Row, c: u32, n: u32) -> array<vec4<f32>, 8> {
  let dm = unpack2x16float(texel(r, n + (n + 3u) / 4u + (c >> 2u))[c & 3u]);
  return decode_fives(texel(r, c), texel(r, n + (c >> 2u))[c & 3u], dm.x, dm.y);
}
