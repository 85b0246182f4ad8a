// Bytes of a word as weights.
#define_import_path pixel_llm::bytes

// Four unsigned bytes of a word against four activations that carry 1, 2^-8, 2^-16 and 1.
// A signed conversion is one instruction where an unsigned one is several.
fn prescale(lane: u32) -> vec4<f32> { return vec4<f32>(1.0, 0.00390625, 1.52587890625e-5, 1.0); }

fn dot_bytes(w: u32, x: vec4<f32>) -> f32 {
  let v = i32(w);
  return (f32(v & 0xFF) * x.x + f32(v & 0xFF00) * x.y) + (f32(v & 0xFF0000) * x.z + f32(i32(w >> 24u)) * x.w);
}

fn half_at(t: vec4<u32>, i: u32) -> f32 {
  return unpack2x16float(t[i >> 1u] >> ((i & 1u) * 16u)).x;
}

// The four unsigned bytes of a word as they are.
fn four_bytes(w: u32) -> vec4<f32> {
  let v = i32(w);
  return vec4<f32>(f32(v & 0xFF), f32((v >> 8u) & 0xFF), f32((v >> 16u) & 0xFF), f32(i32(w >> 24u)));
}
fn affine(p: vec4<u32>, q: vec4<u32>, scale: vec2<f32>, offset: vec2<f32>) -> array<vec4<f32>, 8> {
  let o = vec4<f32>(offset.x);
  let u = vec4<f32>(offset.y);
  return array<vec4<f32>, 8>(four_bytes(p.x) * scale.x + o, four_bytes(p.y) * scale.x + o, four_bytes(p.z) * scale.x + o, four_bytes(p.w) * scale.x + o,
                             four_bytes(q.x) * scale.y + u, four_bytes(q.y) * scale.y + u, four_bytes(q.z) * scale.y + u, four_bytes(q.w) * scale.y + u);
}
