// Weights stored as Q5_1: lines of a row group, and one block of 32 columns.
#define_import_path pixel_llm::encodings::q5_1
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Weights
#import pixel_llm::fifth_bit::fives

fn prescale(lane: u32) -> vec4<f32> { return pixel_llm::bytes::prescale(lane); }
fn lines_of(n: u32) -> u32 { return n + (n + 3u) / 4u * 2u; }
fn weights_at(r: Row, c: u32, n: u32) -> Weights {
  let dm = unpack2x16float(texel(r, n + (n + 3u) / 4u + (c >> 2u))[c & 3u]);
  return Weights(fives(texel(r, c), texel(r, n + (c >> 2u))[c & 3u]), dm.xx, dm.yy);
}
