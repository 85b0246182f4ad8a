// Steps 4 to 6 of the chain: the least logit that top-k, top-p and min-p keep, found by sixteenths
// of its range.
#define_import_path pixel_llm::filter
#import pixel_llm::sampling::SamplingWords
#import pixel_llm::lanes::lane_sum
#import pixel_llm::row::{LOWEST, params, best_at, ascending, descending}
#import pixel_llm::measure::{Kept, Bounds, list_groups, measure, reaching}

// A number beyond which a token is too improbable to be in any share that counts: e^-30.
const NEGLIGIBLE: f32 = 30.0;
const ALL: u32 = 0xFFFFFFFFu;

// `first` and the fifteen numbers after it in steps of `step`, in four parts; past `last` the
// largest number there is.
fn stepped(first: u32, step: u32, last: u32, part: u32) -> vec4<u32> {
    let v = vec4<u32>(first) + (vec4<u32>(part * 4u) + vec4<u32>(0u, 1u, 2u, 3u)) * step;
    return select(vec4<u32>(ALL), v, (v >= vec4<u32>(first)) & (v <= vec4<u32>(last)));
}

fn numbers(keys: vec4<u32>) -> vec4<f32> {
    let v = vec4<f32>(
        descending(keys.x), descending(keys.y), descending(keys.z), descending(keys.w),
    );
    // Nothing is above the key past the last one.
    return select(v, vec4<f32>(0x1.fffffep127), keys == vec4<u32>(ALL));
}

// The shortest list of first tokens within `outer` whose number, or where `by_share` share, reaches
// `wanted`.
fn shortest(index: u32, outer: Kept, wanted: f32, by_share: bool, top: f32, lane: u32) -> Kept {
    // The largest bound that is low enough.
    var low = ascending(outer.least);
    var high = ascending(top);
    while low < high {
        let step = (high - low + 15u) / 16u;
        let groups = list_groups(index, descending(low), lane);
        var bounds: Bounds;
        for (var i = 0u; i < 4u; i++) {
            bounds.least[i] = numbers(stepped(low + step, step, high, i));
            bounds.last[i] = vec4<u32>(ALL);
        }
        let n = reaching(measure(index, groups, bounds, by_share, top, lane), wanted);
        let room = high - low;
        high = low + select(min(room, (n + 1u) * step - 1u), room, n >= 15u);
        low += min(room, n * step);
    }
    // Of equal logits the first tokens stay, as many as are needed.
    let least = descending(low);
    let groups = list_groups(index, least, lane);
    var first = 0u;
    var last = params.vocabulary;
    if low == ascending(outer.least) {
        // The outer list's own ties, of which it may have left some out already.
        last = min(last, outer.last);
    }
    while first < last {
        let step = (last - first + 15u) / 16u;
        var bounds: Bounds;
        for (var i = 0u; i < 4u; i++) {
            bounds.least[i] = vec4<f32>(least);
            bounds.last[i] = stepped(first, step, last, i);
        }
        // The sums grow with the token here: so many are too few.
        let n = 16u - reaching(measure(index, groups, bounds, by_share, top, lane), wanted);
        last = min(last, first + n * step);
        first = select(first + (n - 1u) * step + 1u, first, n == 0u);
    }
    return Kept(least, first);
}

// A bound that keeps no fewer than the first `k` tokens: the k-th best of the groups' best logits.
fn bound_of_groups(index: u32, k: u32, top: f32, lane: u32) -> f32 {
    if k > params.groups {
        return LOWEST;
    }
    var low = ascending(LOWEST);
    var high = ascending(top);
    while low < high {
        let middle = high - (high - low) / 2u;
        var count = 0.0;
        for (var i = lane; i < params.groups; i += 8u) {
            count += f32(u32(best_at(index, i).x >= descending(middle)));
        }
        if lane_sum(count, lane) >= f32(k) {
            low = middle;
        } else {
            high = middle - 1u;
        }
    }
    return descending(low);
}

// All lanes of the workgroup must call it, with the largest logit.
fn filter_tokens(index: u32, words: SamplingWords, top: f32, lane: u32) -> Kept {
    var kept = Kept(LOWEST, ALL);
    if words.top_k > 0u && words.top_k < params.vocabulary {
        let bound = bound_of_groups(index, words.top_k, top, lane);
        kept = shortest(index, Kept(bound, ALL), f32(words.top_k), false, top, lane);
    }
    if words.top_p < 1.0 {
        var outer = kept;
        if top - NEGLIGIBLE > kept.least {
            outer = Kept(top - NEGLIGIBLE, ALL);
        }
        var bounds: Bounds;
        for (var i = 0u; i < 4u; i++) {
            bounds.least[i] = vec4<f32>(outer.least);
            bounds.last[i] = vec4<u32>(outer.last);
        }
        let groups = list_groups(index, outer.least, lane);
        let share = measure(index, groups, bounds, true, top, lane).v[0].x;
        kept = shortest(index, outer, words.top_p * share, true, top, lane);
    }
    if words.min_p > 0.0 && top + log(words.min_p) > kept.least {
        kept = Kept(top + log(words.min_p), ALL);
    }
    return kept;
}
