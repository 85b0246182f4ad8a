// 32 nibbles of a texel: byte i of 16 holds weight i in its low half and weight i + 16 in its high
// half.
#define_import_path pixel_llm::nibbles

// The eight nibbles of a word, low ones against activations 4w.., high ones against 16+4w...
// Each is converted where it lies; the activation carries the power of two.
fn prescale(lane: u32) -> vec4<f32> {
    let low = vec4<f32>(1.0, 0.00390625, 1.52587890625e-5, 5.9604644775390625e-8);
    let high = vec4<f32>(0.0625, 0.000244140625, 9.5367431640625e-7, 1.0);
    return select(high, low, lane < 4u);
}

fn low_four(w: u32) -> vec4<f32> {
    let v = i32(w);
    return vec4<f32>(f32(v & 0xF), f32(v & 0xF00), f32(v & 0xF0000), f32(v & 0xF000000));
}

fn high_four(w: u32) -> vec4<f32> {
    let v = i32(w);
    return vec4<f32>(f32(v & 0xF0), f32(v & 0xF000), f32(v & 0xF00000), f32(i32(w >> 28u)));
}

fn nibbles(q: vec4<u32>) -> array<vec4<f32>, 8> {
    return array<vec4<f32>, 8>(
        low_four(q.x), low_four(q.y), low_four(q.z), low_four(q.w),
        high_four(q.x), high_four(q.y), high_four(q.z), high_four(q.w),
    );
}

// Nibble `i` of the 32.
fn nibble(q: vec4<u32>, i: u32) -> u32 {
    return (q[(i >> 2u) & 3u] >> ((i & 3u) * 8u + (i >> 4u) * 4u)) & 15u;
}
