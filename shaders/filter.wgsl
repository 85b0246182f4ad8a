// Steps 4 to 6 of the chain: the least logit that top-k, top-p and min-p keep, found by halving its range.
#define_import_path pixel_llm::filter
#import pixel_llm::types::SamplingWords
#import pixel_llm::lanes::lane_sum
#import pixel_llm::row::{params, listed, best_at, listed_at, logit_at, ascending, descending}

// What stays: logits above `least`, and those equal to it up to token `last`.
struct Kept {
    least: f32,
    last: u32,
}

fn stays(kept: Kept, logit: f32, token: u32) -> bool {
    return logit > kept.least || (logit == kept.least && token <= kept.last);
}

// A number beyond which a token is too improbable to be in any share that counts: e^-30.
const NEGLIGIBLE: f32 = 30.0;

// Writes down the groups whose best logit is at least `least`, and returns their number. All lanes must call it.
fn list_groups(index: u32, least: f32, lane: u32) -> u32 {
    var found = 0u;
    for (var first = 0u; first < params.groups; first += 8u) {
        let group = first + lane;
        let wanted = group < params.groups && best_at(index, group).x >= least;
        let flag = f32(u32(wanted));
        var before = 0.0;
        for (var i = 0u; i < 7u; i++) {
            before += select(0.0, subgroupShuffle(flag, i), i < lane);
        }
        let at = index * params.groups + found + u32(before);
        if wanted && at < arrayLength(&listed) {
            listed[at] = group;
        }
        found += u32(lane_sum(flag, lane));
    }
    storageBarrier();
    return found;
}

// How many of the listed tokens stay, and their share relative to the most probable one's.
fn measure(index: u32, groups: u32, kept: Kept, top: f32, lane: u32) -> vec2<f32> {
    var sums = vec2<f32>();
    for (var i = 0u; i < groups; i++) {
        let group = listed_at(index, i);
        if best_at(index, group).x >= kept.least {
            for (var j = 0u; j < 8u; j++) {
                let token = group * 64u + j * 8u + lane;
                let logit = logit_at(index, token);
                sums += select(vec2<f32>(), vec2<f32>(1.0, exp(logit - top)), stays(kept, logit, token));
            }
        }
    }
    return vec2<f32>(lane_sum(sums.x, lane), lane_sum(sums.y, lane));
}

// The shortest list of first tokens within `outer` whose measure reaches `wanted`: its number, or where `by_share`, its share.
fn shortest(index: u32, groups: u32, outer: Kept, wanted: f32, by_share: bool, top: f32, lane: u32) -> Kept {
    // The largest threshold that is low enough.
    var low = ascending(outer.least);
    var high = ascending(top);
    while low < high {
        let middle = high - (high - low) / 2u;
        let sums = measure(index, groups, Kept(descending(middle), 0xFFFFFFFFu), top, lane);
        if select(sums.x, sums.y, by_share) >= wanted {
            low = middle;
        } else {
            high = middle - 1u;
        }
    }
    if low == ascending(outer.least) {
        // The outer list itself, whose ties are decided.
        return outer;
    }
    // Of equal logits the first tokens stay, as many as are needed.
    var kept = Kept(descending(low), 0xFFFFFFFFu);
    var first = 0u;
    var last = params.vocabulary;
    while first < last {
        let middle = first + (last - first) / 2u;
        let sums = measure(index, groups, Kept(kept.least, middle), top, lane);
        if select(sums.x, sums.y, by_share) >= wanted {
            last = middle;
        } else {
            first = middle + 1u;
        }
    }
    kept.last = first;
    return kept;
}

// All lanes of the workgroup must call it, with the largest logit. The groups that it lists hold all that stays.
fn filter_tokens(index: u32, words: SamplingWords, top: f32, lane: u32) -> Kept {
    var kept = Kept(-0x1.fffffep127, 0xFFFFFFFFu);
    if words.top_k > 0u && words.top_k < params.vocabulary {
        // The k-th best of the groups' best logits is no larger than the k-th best logit.
        var low = 0u;
        var high = ascending(top);
        while low < high && words.top_k <= params.groups {
            let middle = high - (high - low) / 2u;
            var count = 0.0;
            for (var i = lane; i < params.groups; i += 8u) {
                count += f32(u32(ascending(best_at(index, i).x) >= middle));
            }
            if lane_sum(count, lane) >= f32(words.top_k) {
                low = middle;
            } else {
                high = middle - 1u;
            }
        }
        let least = max(descending(max(low, ascending(-0x1.fffffep127))), -0x1.fffffep127);
        let groups = list_groups(index, least, lane);
        kept = shortest(index, groups, Kept(least, 0xFFFFFFFFu), f32(words.top_k), false, top, lane);
    }
    if words.top_p < 1.0 {
        let least = max(kept.least, top - NEGLIGIBLE);
        let groups = list_groups(index, least, lane);
        let all = measure(index, groups, kept, top, lane).y;
        var outer = kept;
        if least > kept.least {
            outer = Kept(least, 0xFFFFFFFFu);
        }
        kept = shortest(index, groups, outer, words.top_p * all, true, top, lane);
    }
    if words.min_p > 0.0 {
        let least = top + log(words.min_p);
        if least > kept.least {
            kept = Kept(least, 0xFFFFFFFFu);
        }
    }
    return kept;
}
