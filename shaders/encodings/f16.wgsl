// Weights stored as F16: eight to a texel.
#define_import_path pixel_llm::encodings::f16
#import pixel_llm::page::{Row, texel}
#import pixel_llm::weights::{Weight, Weights, weight_of_float}

fn prescale(lane: u32) -> vec4<f32> {
    return vec4<f32>(1.0);
}

fn lines_of(n: u32) -> u32 {
    return n * 4u;
}

fn four(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn weights_at(r: Row, c: u32, n: u32) -> Weights {
    let s = texel(r, c * 4u);
    let t = texel(r, c * 4u + 1u);
    let u = texel(r, c * 4u + 2u);
    let v = texel(r, c * 4u + 3u);
    let codes = array<vec4<f32>, 8>(
        four(s.xy), four(s.zw), four(t.xy), four(t.zw),
        four(u.xy), four(u.zw), four(v.xy), four(v.zw),
    );
    return Weights(codes, vec2<f32>(1.0), vec2<f32>(0.0));
}

fn weight_at(r: Row, c: u32, i: u32, n: u32) -> Weight {
    let line = c * 4u + (i >> 3u);
    let two = vec2<u32>(texel(r, line)[(i >> 1u) & 3u]);
    return weight_of_float(four(two)[i & 1u], 10.0, line, (i & 7u) * 2u);
}
