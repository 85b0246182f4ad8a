// Weights stored as Q4_1: lines of a row group, one block of 32 columns times activations, and the block itself.
#define_import_path pixel_llm::encodings::q4_1
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Block
#import pixel_llm::nibbles::{dot_nibbles, decode_nibbles}

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::nibbles::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n + (n + 3u) / 4u; }
fn dot_block(r: Row, c: u32, n: u32, b: Block) -> f32 {
  let dm = unpack2x16float(texel(r, n + (c >> 2u))[c & 3u]);
  return dm.x * dot_nibbles(texel(r, c), b) + dm.y * (b.low + b.high);
}
fn decode_block(r: Row, c: u32, n: u32) -> array<vec4<f32>, 8> {
  let dm = unpack2x16float(texel(r, n + (c >> 2u))[c & 3u]);
  return decode_nibbles(texel(r, c), dm.x, dm.y);
}
