// How many tokens lie above each of sixteen bounds, or what share they have.
#define_import_path pixel_llm::measure
#import pixel_llm::lanes::{shuffle, lane_sum}
#import pixel_llm::row::{best, params, listed, best_at, listed_at, quad_of}

// What stays above a bound: logits above `least`, and those equal to it up to token `last`.
struct Kept {
    least: f32,
    last: u32,
}

// Sixteen bounds.
struct Bounds {
    least: array<vec4<f32>, 4>,
    last: array<vec4<u32>, 4>,
}

struct Sums {
    v: array<vec4<f32>, 4>,
}

fn stays(kept: Kept, logit: f32, token: u32) -> bool {
    return logit > kept.least || (logit == kept.least && token <= kept.last);
}

// Writes down the groups whose best logit is at least `least`, and returns their number. All lanes
// must call it.
fn list_groups(index: u32, least: f32, lane: u32) -> u32 {
    var found = 0u;
    // See `tiles_across`.
    let end = min(params.groups, arrayLength(&best));
    for (var first = 0u; first < end; first += 8u) {
        let group = first + lane;
        let wanted = group < params.groups && best_at(index, group).x >= least;
        let flag = f32(u32(wanted));
        let a = flag + select(0.0, shuffle(flag, lane, (lane - 1u) & 7u), lane >= 1u);
        let b = a + select(0.0, shuffle(a, lane, (lane - 2u) & 7u), lane >= 2u);
        let c = b + select(0.0, shuffle(b, lane, (lane - 4u) & 7u), lane >= 4u);
        let at = index * params.groups + found + u32(c - flag);
        if wanted && at < arrayLength(&listed) {
            listed[at] = group;
        }
        found += u32(shuffle(c, lane, 7u));
    }
    storageBarrier();
    return found;
}

fn above(least: vec4<f32>, last: vec4<u32>, logit: f32, token: u32) -> vec4<bool> {
    let v = vec4<f32>(logit);
    return (v > least) | ((v == least) & (vec4<u32>(token) <= last));
}

fn add(sums: Sums, bounds: Bounds, weight: f32, logit: f32, token: u32) -> Sums {
    var s = sums;
    let w = vec4<f32>(weight);
    s.v[0] += select(vec4<f32>(), w, above(bounds.least[0], bounds.last[0], logit, token));
    s.v[1] += select(vec4<f32>(), w, above(bounds.least[1], bounds.last[1], logit, token));
    s.v[2] += select(vec4<f32>(), w, above(bounds.least[2], bounds.last[2], logit, token));
    s.v[3] += select(vec4<f32>(), w, above(bounds.least[3], bounds.last[3], logit, token));
    return s;
}

fn add_quad(sums: Sums, bounds: Bounds, logits: vec4<f32>, weights: vec4<f32>, token: u32) -> Sums {
    let a = add(sums, bounds, weights.x, logits.x, token);
    let b = add(a, bounds, weights.y, logits.y, token + 1u);
    let c = add(b, bounds, weights.z, logits.z, token + 2u);
    return add(c, bounds, weights.w, logits.w, token + 3u);
}

fn sum_lanes(v: vec4<f32>, lane: u32) -> vec4<f32> {
    return vec4<f32>(
        lane_sum(v.x, lane), lane_sum(v.y, lane), lane_sum(v.z, lane), lane_sum(v.w, lane),
    );
}

// Of the tokens of the listed groups, the number above each bound, or where `by_share` their share
// relative to the best one's. One turn per group: a software adapter ends all loops after 65535
// turns.
fn measure(index: u32, groups: u32, bounds: Bounds, by_share: bool, top: f32, lane: u32) -> Sums {
    var sums: Sums;
    for (var i = 0u; i < groups; i++) {
        let quad = listed_at(index, i) * 16u + lane * 2u;
        let a = quad_of(index, quad);
        let b = quad_of(index, quad + 1u);
        let one = vec4<f32>(1.0);
        sums = add_quad(sums, bounds, a, select(one, exp(a - vec4<f32>(top)), by_share), quad * 4u);
        sums = add_quad(
            sums, bounds, b, select(one, exp(b - vec4<f32>(top)), by_share), quad * 4u + 4u,
        );
    }
    return Sums(array<vec4<f32>, 4>(sum_lanes(sums.v[0], lane), sum_lanes(sums.v[1], lane),
                                    sum_lanes(sums.v[2], lane), sum_lanes(sums.v[3], lane)));
}

// How many of the sixteen sums reach `wanted`.
fn reaching(sums: Sums, wanted: f32) -> u32 {
    let w = vec4<f32>(wanted);
    let one = vec4<u32>(1u);
    let n = select(vec4<u32>(), one, sums.v[0] >= w) + select(vec4<u32>(), one, sums.v[1] >= w)
          + select(vec4<u32>(), one, sums.v[2] >= w) + select(vec4<u32>(), one, sums.v[3] >= w);
    return (n.x + n.y) + (n.z + n.w);
}
