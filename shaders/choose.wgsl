// The greedy choice: the best of the workgroups' best logits becomes its column's next token, one position on.
#import pixel_llm::types::ChooseParams
#import pixel_llm::lanes::{better, lane_best}

@group(0) @binding(0) var<uniform> params: ChooseParams;
@group(0) @binding(1) var<storage, read> best: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> wanted: array<u32>;
@group(0) @binding(3) var<storage, read_write> columns: array<vec4<u32>>;
// [wanted, stride]: how many were drawn, and their tokens
@group(0) @binding(4) var<storage, read_write> drawn: array<u32>;

@compute @workgroup_size(8)
fn choose(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let index = group.y;
    if index >= params.columns || index >= arrayLength(&wanted) {
        return;
    }
    var top = vec2<f32>(-1e30, bitcast<f32>(0x7F000000u));
    for (var i = lane; i < params.groups; i += 8u) {
        top = better(top, best[min(index * params.groups + i, arrayLength(&best) - 1u)]);
    }
    top = lane_best(top, lane);
    let count = index * params.stride;
    let column = wanted[index];
    if lane != 0u || column >= arrayLength(&columns) || count + params.stride > arrayLength(&drawn) {
        return;
    }
    let token = bitcast<u32>(top.y);
    columns[column].x = token;
    columns[column].y += 1u;
    drawn[count] += 1u;
    if drawn[count] < params.stride {
        drawn[count + drawn[count]] = token;
    }
}
