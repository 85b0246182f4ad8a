// One row of logits, 64 per group, with the best of each group; and the groups that are still of interest.
#define_import_path pixel_llm::row
#import pixel_llm::types::ChooseParams

@group(0) @binding(0) var<uniform> params: ChooseParams;
// [rows, groups]: a logit and its token's bits
@group(0) @binding(1) var<storage, read_write> best: array<vec2<f32>>;
// [rows, groups, 64]
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;
// [rows, groups]: groups of interest
@group(0) @binding(3) var<storage, read_write> listed: array<u32>;

// The logit of a token, one that is not a number as minus infinity; the two zeros are one value.
fn logit_at(index: u32, token: u32) -> f32 {
    let v = logits[min(index * params.groups * 64u + token, arrayLength(&logits) - 1u)];
    return select(-0x1.fffffep127, v + 0.0, v == v && token < params.vocabulary);
}

fn best_at(index: u32, group: u32) -> vec2<f32> {
    return best[min(index * params.groups + group, arrayLength(&best) - 1u)];
}

fn listed_at(index: u32, i: u32) -> u32 {
    return listed[min(index * params.groups + i, arrayLength(&listed) - 1u)];
}

// A float as an integer of the same order, and back.
fn ascending(v: f32) -> u32 {
    let bits = bitcast<u32>(v);
    return select(~bits, bits | 0x80000000u, (bits >> 31u) == 0u);
}
fn descending(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7FFFFFFFu, (key >> 31u) == 1u));
}
