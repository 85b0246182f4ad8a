// What an encoding makes of the bytes of a row: a block of 32 weights for a product, or one weight
// for whoever looks at it.
#define_import_path pixel_llm::weights

// 32 weights of a row. Each is its code times the encoding's prescale, times a scale and plus an
// offset of its half of the block. So a product needs scales and offsets once per half: the scaled
// activations are multiplied with codes.
struct Weights {
    codes: array<vec4<f32>, 8>,
    scale: vec2<f32>,
    offset: vec2<f32>,
}

// One weight; how far it is to the value of the next code; and where its code begins: the line of
// its row group, and the byte of its texel there.
struct Weight {
    value: f32,
    step: f32,
    line: u32,
    byte: u32,
}

// The weight of a code, with its scale and offset. The same number as a product's, to the last bit:
// what is multiplied here is exact, as there.
fn weight_of(code: u32, scale_and_offset: vec2<f32>, line: u32, byte: u32) -> Weight {
    let value = scale_and_offset.x * f32(i32(code)) + scale_and_offset.y;
    return Weight(value, abs(scale_and_offset.x), line, byte);
}

// The weight of a float, whose step is that of its last binary digit.
fn weight_of_float(value: f32, digits: f32, line: u32, byte: u32) -> Weight {
    let step = exp2(floor(log2(max(abs(value), 1e-30))) - digits);
    return Weight(value, select(step, 0.0, value == 0.0), line, byte);
}

// A byte of a texel.
fn byte_of(t: vec4<u32>, i: u32) -> u32 {
    return (t[(i >> 2u) & 3u] >> ((i & 3u) * 8u)) & 0xFFu;
}
