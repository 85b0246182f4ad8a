// Scales and minima of Q4_K and Q5_K.
#define_import_path pixel_llm::k_scales

// Scale of sub-block s of a super-block, and its minimum as an offset, from its texel (d, dmin as
// halves, then twelve bytes that hold eight 6-bit pairs).
fn group_scale_and_offset(t: vec4<u32>, s: u32) -> vec2<f32> {
    let shift = (s & 3u) * 8u;
    let a = t.y >> shift;
    let m = t.z >> shift;
    let u = t.w >> shift;
    let first = s < 4u;
    let scale = select((u & 15u) | ((a >> 2u) & 0x30u), a & 63u, first);
    let minimum = select(((u >> 4u) & 15u) | ((m >> 2u) & 0x30u), m & 63u, first);
    let both = unpack2x16float(t.x) * vec2<f32>(f32(i32(scale)), f32(i32(minimum)));
    return vec2<f32>(both.x, -both.y);
}
