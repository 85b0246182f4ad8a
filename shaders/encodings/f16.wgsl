// Weights stored as F16: lines of a row group, and one block of 32 columns.
#define_import_path pixel_llm::encodings::f16
#import pixel_llm::page::{Row, texel}
#import pixel_llm::block::Weights

fn prescale(lane: u32) -> vec4<f32> { return vec4<f32>(1.0); }
fn lines_of(n: u32) -> u32 { return n * 4u; }
fn four(a: u32, b: u32) -> vec4<f32> { return vec4<f32>(unpack2x16float(a), unpack2x16float(b)); }
fn weights_at(r: Row, c: u32, n: u32) -> Weights {
  let s = texel(r, c * 4u);
  let t = texel(r, c * 4u + 1u);
  let u = texel(r, c * 4u + 2u);
  let v = texel(r, c * 4u + 3u);
  let codes = array<vec4<f32>, 8>(four(s.x, s.y), four(s.z, s.w), four(t.x, t.y), four(t.z, t.w),
                                  four(u.x, u.y), four(u.z, u.w), four(v.x, v.y), four(v.z, v.w));
  return Weights(codes, vec2<f32>(1.0), vec2<f32>(0.0));
}
