// Weights stored as F32: lines of a row group, one block of 32 columns times activations, and the block itself.
#define_import_path pixel_llm::encodings::f32
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Block

fn prescale(lane: u32) -> vec4<f32> { return vec4<f32>(1.0); }
// Lines of one row group in a tile of n blocks of 32 columns.
fn lines_of(n: u32) -> u32 { return n * 8u; }
fn dot_block(r: Row, c: u32, n: u32, b: Block) -> f32 {
  var t = bitcast<vec4<f32>>(texel(r, c * 8u)) * b.x[0];
  t += bitcast<vec4<f32>>(texel(r, c * 8u + 1u)) * b.x[1];
  t += bitcast<vec4<f32>>(texel(r, c * 8u + 2u)) * b.x[2];
  t += bitcast<vec4<f32>>(texel(r, c * 8u + 3u)) * b.x[3];
  t += bitcast<vec4<f32>>(texel(r, c * 8u + 4u)) * b.x[4];
  t += bitcast<vec4<f32>>(texel(r, c * 8u + 5u)) * b.x[5];
  t += bitcast<vec4<f32>>(texel(r, c * 8u + 6u)) * b.x[6];
  t += bitcast<vec4<f32>>(texel(r, c * 8u + 7u)) * b.x[7];
  return (t.x + t.y) + (t.z + t.w);
}
fn decode_block(r: Row, c: u32, n: u32) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(bitcast<vec4<f32>>(texel(r, c * 8u + 0u)), bitcast<vec4<f32>>(texel(r, c * 8u + 1u)), bitcast<vec4<f32>>(texel(r, c * 8u + 2u)), bitcast<vec4<f32>>(texel(r, c * 8u + 3u)), bitcast<vec4<f32>>(texel(r, c * 8u + 4u)), bitcast<vec4<f32>>(texel(r, c * 8u + 5u)), bitcast<vec4<f32>>(texel(r, c * 8u + 6u)), bitcast<vec4<f32>>(texel(r, c * 8u + 7u)));
}
