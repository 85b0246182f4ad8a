// Values shared by the eight lanes of a workgroup, which lie in one subgroup.
#define_import_path pixel_llm::lanes

fn lane_sum(v: f32, lane: u32) -> f32 {
    let a = v + subgroupShuffle(v, lane ^ 1u);
    let b = a + subgroupShuffle(a, lane ^ 2u);
    return b + subgroupShuffle(b, lane ^ 4u);
}

fn lane_max(v: f32, lane: u32) -> f32 {
    let a = max(v, subgroupShuffle(v, lane ^ 1u));
    let b = max(a, subgroupShuffle(a, lane ^ 2u));
    return max(b, subgroupShuffle(b, lane ^ 4u));
}

// The larger logit of two, and of equal ones the first token.
fn better(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    let other = b.x > a.x || (b.x == a.x && bitcast<u32>(b.y) < bitcast<u32>(a.y));
    return select(a, b, other);
}

fn lane_best(v: vec2<f32>, lane: u32) -> vec2<f32> {
    var best = v;
    for (var i = 1u; i < 8u; i *= 2u) {
        best = better(best, vec2<f32>(subgroupShuffle(best.x, lane ^ i), subgroupShuffle(best.y, lane ^ i)));
    }
    return best;
}

fn broadcast(v: vec4<f32>, lane: u32) -> vec4<f32> {
    return vec4<f32>(subgroupShuffle(v.x, lane), subgroupShuffle(v.y, lane), subgroupShuffle(v.z, lane), subgroupShuffle(v.w, lane));
}
