// Nibbles with a fifth bit from another plane.
#define_import_path pixel_llm::fifth_bit
#import pixel_llm::block::Block
#import pixel_llm::bytes::{dot_bytes, affine}

// Four bits of h become bit 4 of four bytes.
fn spread(h: u32) -> u32 { return ((h & 15u) * 0x00204081u & 0x01010101u) << 4u; }
fn dot_fives(q: vec4<u32>, h: u32, b: Block) -> f32 {
  let l = q & vec4<u32>(0x0F0F0F0Fu);
  let u = (q >> vec4<u32>(4u)) & vec4<u32>(0x0F0F0F0Fu);
  return ((dot_bytes(l.x | spread(h), b.x[0]) + dot_bytes(l.y | spread(h >> 4u), b.x[1]))
        + (dot_bytes(l.z | spread(h >> 8u), b.x[2]) + dot_bytes(l.w | spread(h >> 12u), b.x[3])))
       + ((dot_bytes(u.x | spread(h >> 16u), b.x[4]) + dot_bytes(u.y | spread(h >> 20u), b.x[5]))
        + (dot_bytes(u.z | spread(h >> 24u), b.x[6]) + dot_bytes(u.w | spread(h >> 28u), b.x[7])));
}

fn decode_fives(q: vec4<u32>, h: u32, d: f32, m: f32) -> array<vec4<f32>, 8> {
  let l = (q & vec4<u32>(0x0F0F0F0Fu)) | vec4<u32>(spread(h), spread(h >> 4u), spread(h >> 8u), spread(h >> 12u));
  let u = ((q >> vec4<u32>(4u)) & vec4<u32>(0x0F0F0F0Fu)) | vec4<u32>(spread(h >> 16u), spread(h >> 20u), spread(h >> 24u), spread(h >> 28u));
  return affine(l, u, vec2<f32>(d), vec2<f32>(m));
}
