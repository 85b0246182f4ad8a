// Weights stored as Q4_1: lines of a row group, and one block of 32 columns.
#define_import_path pixel_llm::encodings::q4_1
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Weights
#import pixel_llm::nibbles::nibbles

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::nibbles::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n + (n + 3u) / 4u; }
fn weights_at(r: Row, c: u32, n: u32) -> Weights {
  let dm = unpack2x16float(texel(r, n + (c >> 2u))[c & 3u]);
  return Weights(nibbles(texel(r, c)), dm.xx, dm.yy);
}
