// The next token of each row of logits, by the chain of src/forward/sampling: it becomes its
// column's token, one position on.
#import pixel_llm::sampling::SamplingWords
#import pixel_llm::lanes::{no_logit, better, lane_best, token_of_best}
#import pixel_llm::row::{params, best_at, listed_at, quad_of}
#import pixel_llm::penalise::{recent, penalise}
#import pixel_llm::measure::{Kept, list_groups, stays}
#import pixel_llm::filter::filter_tokens
#import pixel_llm::noise::{pcg4d, gumbel}

@group(0) @binding(6) var<storage, read> wanted: array<u32>;
@group(0) @binding(7) var<storage, read_write> columns: array<vec4<u32>>;
// [rows, stride]: how many were sampled, and their tokens
@group(0) @binding(8) var<storage, read_write> sampled: array<u32>;
@group(0) @binding(9) var<storage, read> sampling: array<SamplingWords>;

// The better of a score and those of four tokens, as far as they stay. `top` is the largest logit.
fn enter_quad(
    index: u32,
    words: SamplingWords,
    count: u32,
    kept: Kept,
    top: f32,
    quad: u32,
    winner: vec2<f32>,
) -> vec2<f32> {
    let logits = quad_of(index, quad);
    let noise = gumbel(pcg4d(vec4<u32>(words.key, words.index + count, quad)));
    let scores = (logits - vec4<f32>(top)) / words.temperature + noise;
    var best = winner;
    for (var k = 0u; k < 4u; k++) {
        let token = quad * 4u + k;
        if stays(kept, logits[k], token) && token < params.vocabulary {
            best = better(best, vec2<f32>(scores[k], bitcast<f32>(token)));
        }
    }
    return best;
}

// Step 7: the largest of logit / temperature + noise among the tokens that stay. `top` is the best
// logit and its token.
fn sample_kept(index: u32, words: SamplingWords, count: u32, top: vec2<f32>, lane: u32) -> u32 {
    let kept = filter_tokens(index, words, top.x, lane);
    let groups = list_groups(index, kept.least, lane);
    var winner = vec2<f32>(-1e30, top.y);
    for (var i = 0u; i < groups; i++) {
        let quad = listed_at(index, i) * 16u + lane * 2u;
        winner = enter_quad(index, words, count, kept, top.x, quad, winner);
        winner = enter_quad(index, words, count, kept, top.x, quad + 1u, winner);
    }
    return bitcast<u32>(lane_best(winner, lane).y);
}

@compute @workgroup_size(8)
fn sample(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = group.y;
    let place = index * params.stride;
    if index >= params.rows || place + params.stride > arrayLength(&sampled)
        || index >= arrayLength(&sampling) {
        return;
    }
    let words = sampling[index];
    let count = sampled[place];
#ifndef GREEDY
    penalise(index, words, count, lane);
#endif
    var top = no_logit();
    for (var i = lane; i < params.groups; i += 8u) {
        top = better(top, best_at(index, i));
    }
    top = lane_best(top, lane);
    var token = token_of_best(top);
#ifndef GREEDY
    if words.temperature > 0.0 && token < params.vocabulary {
        token = sample_kept(index, words, count, top, lane);
    }
#endif
    let column = wanted[min(index, arrayLength(&wanted) - 1u)];
    let next = words.window_start + words.window_len + count;
    if lane != 0u || column >= arrayLength(&columns) || count + 1u >= params.stride {
        return;
    }
    columns[column].x = token;
    columns[column].y += 1u;
    sampled[place] = count + 1u;
    sampled[place + 1u + count] = token;
    if words.window_limit > 0u && next < arrayLength(&recent) {
        recent[next] = token;
    }
}
