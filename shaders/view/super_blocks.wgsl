// One weight of the encodings with 256 weights to a block: its value and the step of its group.
#define_import_path pixel_llm::view::super_blocks
#import pixel_llm::view::bindings::Quad
#import pixel_llm::view::bytes::{texel, byte_of, half_of}
#import pixel_llm::k_scales::scale_and_minimum

// Weight `i` of the 32 of group `c`, in a row group of `n` groups that begins at line `top`; `x` is
// the row's texel.
fn super_weight(q: Quad, encoding: u32, top: u32, x: u32, c: u32, i: u32, n: u32) -> vec2<f32> {
    let block = c >> 3u;
    let half = i >> 4u;
    if encoding == 14u {
        let upper = (c >> 2u) & 1u;
        let k = c & 3u;
        let low = texel(q, top + block * 8u + upper * 4u + (k & 1u) * 2u + half, x);
        let high = texel(q, top + n + block * 4u + upper * 2u + half, x);
        let code = ((byte_of(low, i & 15u) >> ((k >> 1u) * 4u)) & 15u) | (((byte_of(high, i & 15u) >> (k * 2u)) & 3u) << 4u);
        let scales = texel(q, top + n + n / 2u + block, x);
        let scale = f32(i32(byte_of(scales, upper * 8u + k * 2u + half) << 24u) >> 24u);
        let d = half_of(texel(q, top + n + n / 2u + n / 8u + (block >> 3u), x), block & 7u);
        return vec2<f32>(d * scale * (f32(code) - 32.0), abs(d * scale));
    }
    let low = texel(q, top + (c & 0xFFFFFFFEu) + half, x);
    var code = (byte_of(low, i & 15u) >> ((c & 1u) * 4u)) & 15u;
    var behind = top + n;
    if encoding == 13u {
        let high = texel(q, top + n + block * 2u + half, x);
        code = code | (((byte_of(high, i & 15u) >> (c & 7u)) & 1u) << 4u);
        behind = top + n + n / 4u;
    }
    let s = scale_and_minimum(texel(q, behind + block, x), c & 7u);
    return vec2<f32>(s.x * f32(code) - s.y, abs(s.x));
}
