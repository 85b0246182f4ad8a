// One row of logits, 64 per group, with the best of each group; and the groups that are still of
// interest.
#define_import_path pixel_llm::row
#import pixel_llm::sampling::SampleParams

@group(0) @binding(0) var<uniform> params: SampleParams;
// [rows, groups]: a logit and its token's bits
@group(0) @binding(1) var<storage, read_write> best: array<vec2<f32>>;
// [rows, groups, 16] quads
@group(0) @binding(2) var<storage, read_write> logits: array<vec4<f32>>;
// [rows, groups]: groups of interest
@group(0) @binding(3) var<storage, read_write> listed: array<u32>;

const LOWEST: f32 = -0x1.fffffep127;

// Four logits, those that are no numbers or no tokens as the lowest number; the two zeros are one
// value.
fn quad_of(index: u32, quad: u32) -> vec4<f32> {
    let at = min(index * params.groups * 16u + quad, arrayLength(&logits) - 1u);
    let v = logits[at] + vec4<f32>();
    let tokens = vec4<u32>(quad * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let is_sound = (v == v) & (tokens < vec4<u32>(params.vocabulary));
    return max(select(vec4<f32>(LOWEST), v, is_sound), vec4<f32>(LOWEST));
}

fn logit_at(index: u32, token: u32) -> f32 {
    return quad_of(index, token >> 2u)[token & 3u];
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
