// Eight nibbles of a word, and the block of 32 weights they make.
#define_import_path pixel_llm::nibbles
#import pixel_llm::block::Block

// The eight nibbles of a word, low ones against activations 4w.., high ones against 16+4w...
// Each is converted where it lies; the activation carries the power of two.
fn prescale(lane: u32) -> vec4<f32> {
  let low = vec4<f32>(1.0, 0.00390625, 1.52587890625e-5, 5.9604644775390625e-8);
  let high = vec4<f32>(0.0625, 0.000244140625, 9.5367431640625e-7, 1.0);
  return select(high, low, lane < 4u);
}

fn dot_word(w: u32, l: vec4<f32>, h: vec4<f32>) -> f32 {
  let v = i32(w);
  return ((f32(v & 0xF) * l.x + f32(v & 0xF0) * h.x) + (f32(v & 0xF00) * l.y + f32(v & 0xF000) * h.y))
       + ((f32(v & 0xF0000) * l.z + f32(v & 0xF00000) * h.z) + (f32(v & 0xF000000) * l.w + f32(i32(w >> 28u)) * h.w));
}

fn dot_nibbles(q: vec4<u32>, b: Block) -> f32 {
  return (dot_word(q.x, b.x[0], b.x[4]) + dot_word(q.y, b.x[1], b.x[5]))
       + (dot_word(q.z, b.x[2], b.x[6]) + dot_word(q.w, b.x[3], b.x[7]));
}

fn half_at(t: vec4<u32>, i: u32) -> f32 {
  return unpack2x16float(t[i >> 1u] >> ((i & 1u) * 16u)).x;
}

fn low_four(w: u32, d: f32, m: vec4<f32>) -> vec4<f32> {
  let v = i32(w);
  return vec4<f32>(f32(v & 0xF), f32(v & 0xF00), f32(v & 0xF0000), f32(v & 0xF000000)) * (vec4<f32>(1.0, 0.00390625, 1.52587890625e-5, 5.9604644775390625e-8) * d) + m;
}
fn high_four(w: u32, d: f32, m: vec4<f32>) -> vec4<f32> {
  let v = i32(w);
  return vec4<f32>(f32(v & 0xF0), f32(v & 0xF000), f32(v & 0xF00000), f32(i32(w >> 28u))) * (vec4<f32>(0.0625, 0.000244140625, 9.5367431640625e-7, 1.0) * d) + m;
}
fn decode_nibbles(q: vec4<u32>, d: f32, m: f32) -> array<vec4<f32>, 8> {
  let o = vec4<f32>(m);
  return array<vec4<f32>, 8>(low_four(q.x, d, o), low_four(q.y, d, o), low_four(q.z, d, o), low_four(q.w, d, o),
                             high_four(q.x, d, o), high_four(q.y, d, o), high_four(q.z, d, o), high_four(q.w, d, o));
}
