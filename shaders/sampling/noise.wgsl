// Noise that depends on the request, the index of the token to sample and the token, and on nothing
// else.
#define_import_path pixel_llm::noise

fn stir(v: vec4<u32>) -> vec4<u32> {
    var s = v;
    s.x += s.y * s.w;
    s.y += s.z * s.x;
    s.z += s.x * s.y;
    s.w += s.y * s.z;
    return s;
}

// Four words from four, each of which depends on all of them (Jarzynski and Olano 2020).
fn pcg4d(v: vec4<u32>) -> vec4<u32> {
    let s = stir(v * 1664525u + vec4<u32>(1013904223u));
    return stir(s ^ (s >> vec4<u32>(16u)));
}

// Gumbel noise of uniform words. Near 1 the logarithm is only precise to 2^-21, so a series is
// taken there.
fn gumbel(words: vec4<u32>) -> vec4<f32> {
    let one = vec4<f32>(1.0);
    let uniform_words = (vec4<f32>(words) + vec4<f32>(0.5)) * 2.3283064365386963e-10;
    let w = min(uniform_words, vec4<f32>(0.99999994));
    let series = w * (one + w * (vec4<f32>(0.5) + w * (vec4<f32>(0.33333333) + w * 0.25)));
    return -log(select(-log(one - w), series, w < vec4<f32>(0.015625)));
}
