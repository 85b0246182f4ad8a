// Bytes of a word as weights.
#define_import_path pixel_llm::bytes

// Unsigned bytes are converted where they lie, all but the last, and the activations carry the
// powers of two. A signed conversion is one instruction where an unsigned one is several.
fn prescale(lane: u32) -> vec4<f32> { return vec4<f32>(1.0, 0.00390625, 1.52587890625e-5, 1.0); }

fn four_bytes(w: u32) -> vec4<f32> {
  let v = i32(w);
  return vec4<f32>(f32(v & 0xFF), f32(v & 0xFF00), f32(v & 0xFF0000), f32(i32(w >> 24u)));
}

fn bytes(p: vec4<u32>, q: vec4<u32>) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(four_bytes(p.x), four_bytes(p.y), four_bytes(p.z), four_bytes(p.w),
                             four_bytes(q.x), four_bytes(q.y), four_bytes(q.z), four_bytes(q.w));
}

fn half_at(t: vec4<u32>, i: u32) -> f32 {
  return unpack2x16float(t[i >> 1u] >> ((i & 1u) * 16u)).x;
}
