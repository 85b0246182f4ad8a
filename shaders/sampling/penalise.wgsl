// Steps 1 and 2 of the chain: biases, and penalties for tokens that came before. The logits are
// changed in place, and the best of every group that was changed is found again.
#define_import_path pixel_llm::penalise
#import pixel_llm::sampling::SamplingWords
#import pixel_llm::lanes::{no_logit, better, lane_best}
#import pixel_llm::row::{LOWEST, params, best, logits, logit_at}

// Recent tokens of all requests, and biases as a token and the bits of a number.
@group(0) @binding(4) var<storage, read_write> recent: array<u32>;
@group(0) @binding(5) var<storage, read> biases: array<vec2<u32>>;

fn recent_at(i: u32) -> u32 {
    return recent[min(i, arrayLength(&recent) - 1u)];
}

fn set_logit(index: u32, token: u32, v: f32) {
    let at = index * params.groups * 16u + (token >> 2u);
    if token < params.vocabulary && at < arrayLength(&logits) {
        logits[at][token & 3u] = v;
    }
}

fn bias_at(i: u32) -> vec2<u32> {
    return biases[min(i, arrayLength(&biases) - 1u)];
}

// The window after `sampled` tokens of this submit: where it begins, and its length.
fn window_of(words: SamplingWords, sampled: u32) -> vec2<u32> {
    let len = words.window_len + sampled;
    let lost = len - min(len, words.window_limit);
    return vec2<u32>(words.window_start + lost, len - lost);
}

fn find_best_again(index: u32, token: u32, lane: u32) {
    let group = token >> 6u;
    var top = no_logit();
    for (var i = 0u; i < 8u; i++) {
        let row = group * 64u + lane * 8u + i;
        let logit = logit_at(index, row);
        if logit > LOWEST {
            top = better(top, vec2<f32>(logit, bitcast<f32>(row)));
        }
    }
    top = lane_best(top, lane);
    let at = index * params.groups + group;
    // A group with a logit that is infinite or no number stays what it is.
    if lane == 0u && group < params.groups && at < arrayLength(&best)
        && best[at].x < 0x1.fffffep127 {
        best[at] = top;
    }
}

// All lanes of the workgroup must call it.
fn penalise(index: u32, words: SamplingWords, sampled: u32, lane: u32) {
    // Several biases of one token add up, so one lane adds them all.
    if lane == 0u {
        for (var i = 0u; i < words.bias_len; i++) {
            let bias = bias_at(words.bias_start + i);
            set_logit(index, bias.x, logit_at(index, bias.x) + bitcast<f32>(bias.y));
        }
    }
    storageBarrier();
    let penalised = words.repeat_penalty != 1.0 || words.frequency_penalty != 0.0
        || words.presence_penalty != 0.0;
    var window = window_of(words, sampled);
    window.y = select(0u, window.y, penalised);
    // A token is penalised where it comes first, for all its occurrences at once.
    for (var i = lane; i < window.y; i += 8u) {
        let token = recent_at(window.x + i);
        var before = 0u;
        var count = 0u;
        for (var j = 0u; j < window.y; j++) {
            let same = recent_at(window.x + j) == token;
            before += u32(same && j < i);
            count += u32(same);
        }
        if before == 0u {
            let old = logit_at(index, token);
            let v = select(old / words.repeat_penalty, old * words.repeat_penalty, old <= 0.0);
            set_logit(
                index, token, v - (f32(count) * words.frequency_penalty + words.presence_penalty),
            );
        }
    }
    storageBarrier();
    for (var i = 0u; i < words.bias_len; i++) {
        find_best_again(index, bias_at(words.bias_start + i).x, lane);
    }
    for (var i = 0u; i < window.y; i++) {
        find_best_again(index, recent_at(window.x + i), lane);
    }
    storageBarrier();
}
