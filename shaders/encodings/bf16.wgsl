// Weights stored as BF16: lines of a row group, one block of 32 columns times activations, and the block itself.
#define_import_path pixel_llm::encodings::bf16
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Block

fn prescale(lane: u32) -> vec4<f32> { return vec4<f32>(1.0); }
fn lines_of(n: u32) -> u32 { return n * 4u; }
fn dot_four(a: u32, b: u32, x: vec4<f32>) -> f32 {
  // A bfloat16 is the upper half of a float.
  return (bitcast<f32>(a << 16u) * x.x + bitcast<f32>(a & 0xFFFF0000u) * x.y) + (bitcast<f32>(b << 16u) * x.z + bitcast<f32>(b & 0xFFFF0000u) * x.w);
}
fn dot_block(r: Row, c: u32, n: u32, b: Block) -> f32 {
  let t0 = texel(r, c * 4u);
  let t1 = texel(r, c * 4u + 1u);
  let t2 = texel(r, c * 4u + 2u);
  let t3 = texel(r, c * 4u + 3u);
  return ((dot_four(t0.x, t0.y, b.x[0]) + dot_four(t0.z, t0.w, b.x[1])) + (dot_four(t1.x, t1.y, b.x[2]) + dot_four(t1.z, t1.w, b.x[3])))
       + ((dot_four(t2.x, t2.y, b.x[4]) + dot_four(t2.z, t2.w, b.x[5])) + (dot_four(t3.x, t3.y, b.x[6]) + dot_four(t3.z, t3.w, b.x[7])));
}
fn four(a: u32, b: u32) -> vec4<f32> { return vec4<f32>(bitcast<f32>(a << 16u), bitcast<f32>(a & 0xFFFF0000u), bitcast<f32>(b << 16u), bitcast<f32>(b & 0xFFFF0000u)); }
fn decode_block(r: Row, c: u32, n: u32) -> array<vec4<f32>, 8> {
  let t0 = texel(r, c * 4u + 0u);
  let t1 = texel(r, c * 4u + 1u);
  let t2 = texel(r, c * 4u + 2u);
  let t3 = texel(r, c * 4u + 3u);
  return array<vec4<f32>, 8>(four(t0.x, t0.y), four(t0.z, t0.w), four(t1.x, t1.y), four(t1.z, t1.w), four(t2.x, t2.y), four(t2.z, t2.w), four(t3.x, t3.y), four(t3.z, t3.w));
}
