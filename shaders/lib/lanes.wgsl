// Values shared by the first eight lanes of a workgroup. Where there are subgroups, those lanes lie
// in one.
#define_import_path pixel_llm::lanes

#ifdef SUBGROUPS
// The value of lane `i`.
fn shuffle(v: f32, lane: u32, i: u32) -> f32 {
    return subgroupShuffle(v, i);
}
#else
var<workgroup> exchange: array<f32, 256>;

// The value of lane `i`. All lanes of the workgroup must call it.
fn shuffle(v: f32, lane: u32, i: u32) -> f32 {
    exchange[lane & 255u] = v;
    workgroupBarrier();
    let other = exchange[i & 255u];
    workgroupBarrier();
    return other;
}
#endif

fn lane_sum(v: f32, lane: u32) -> f32 {
    let a = v + shuffle(v, lane, lane ^ 1u);
    let b = a + shuffle(a, lane, lane ^ 2u);
    return b + shuffle(b, lane, lane ^ 4u);
}

fn lane_max(v: f32, lane: u32) -> f32 {
    let a = max(v, shuffle(v, lane, lane ^ 1u));
    let b = max(a, shuffle(a, lane, lane ^ 2u));
    return max(b, shuffle(b, lane, lane ^ 4u));
}

// No logit yet, and the bits of what is no token.
fn no_logit() -> vec2<f32> {
    return vec2<f32>(-1e30, bitcast<f32>(0x7F000000u));
}

// The larger logit of two, and of equal ones the first token.
fn better(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    let other = b.x > a.x || (b.x == a.x && bitcast<u32>(b.y) < bitcast<u32>(a.y));
    return select(a, b, other);
}

// The better of a logit of a token and those before it. One that is no number goes before all and
// is no token, so that the draw fails. (Told by its bits: comparisons of floats may be compiled as
// if there were no such thing.)
fn entered(top: vec2<f32>, logit: f32, token: u32) -> vec2<f32> {
    let broken = (bitcast<u32>(logit) & 0x7FFFFFFFu) > 0x7F800000u;
    let entry = vec2<f32>(logit, bitcast<f32>(token));
    return better(top, select(entry, vec2<f32>(0x1.fffffep127, bitcast<f32>(0x7F000000u)), broken));
}

// The most probable token of the best logit, or what is no token where a logit is infinite or no
// number.
fn token_of_best(top: vec2<f32>) -> u32 {
    return select(0x7F000000u, bitcast<u32>(top.y), top.x < 0x1.fffffep127);
}

fn lane_best(v: vec2<f32>, lane: u32) -> vec2<f32> {
    var best = v;
    for (var i = 1u; i < 8u; i *= 2u) {
        best = better(
            best, vec2<f32>(shuffle(best.x, lane, lane ^ i), shuffle(best.y, lane, lane ^ i)),
        );
    }
    return best;
}

fn broadcast(v: vec4<f32>, lane: u32, i: u32) -> vec4<f32> {
    return vec4<f32>(
        shuffle(v.x, lane, i), shuffle(v.y, lane, i), shuffle(v.z, lane, i), shuffle(v.w, lane, i),
    );
}
