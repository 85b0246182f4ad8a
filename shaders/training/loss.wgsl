// Cross-entropy of wanted columns, and its gradient in the place of their logits: a workgroup per
// row of logits.
#import pixel_llm::lanes::{lane_sum, lane_max}
#import pixel_llm::activations::{quad_at, set_quad}
#import pixel_llm::training::step::{
    bounded, wanted_count, wanted_at, target_at, set_result,
}

struct LossParams {
    // [rows, stride quads]
    logits: u32,
    stride: u32,
    // Tokens that the model knows; the rest of a row is no logit.
    vocabulary: u32,
    // The first of the wanted columns.
    first: u32,
}

@group(0) @binding(4) var<uniform> params: LossParams;

// Which of four tokens the model knows.
fn known(i: u32) -> vec4<bool> {
    return vec4<u32>(i * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.vocabulary);
}

@compute @workgroup_size(8)
fn loss(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = params.first + group.y;
    if index >= wanted_count() {
        return;
    }
    let at = params.logits + group.y * params.stride;
    let quads = bounded(params.stride);
    var most = vec4<f32>(-1e30);
    for (var i = lane; i < quads; i += 8u) {
        most = max(most, select(vec4<f32>(-1e30), quad_at(at + i), known(i)));
    }
    let top = lane_max(max(max(most.x, most.y), max(most.z, most.w)), lane);
    var sums = vec4<f32>();
    for (var i = lane; i < quads; i += 8u) {
        let part = exp(quad_at(at + i) - top);
        sums += select(vec4<f32>(), part, known(i));
    }
    let rest = log(lane_sum((sums.x + sums.y) + (sums.z + sums.w), lane));
    let place = target_at(wanted_at(index));
    let target_quad = place.x >> 2u;
    let of_target = quad_at(at + target_quad)[place.x & 3u] - top;
    // All lanes have read the target's logit, by the sums below, before it is overwritten.
    let loss = rest - lane_max(of_target, lane);
    if lane == 0u {
        set_result(index, loss);
    }
    let count = bitcast<f32>(place.y);
    for (var i = lane; i < quads; i += 8u) {
        var p = exp(quad_at(at + i) - (top + rest));
        if i == target_quad {
            let here = vec4<u32>(place.x & 3u) == vec4<u32>(0u, 1u, 2u, 3u);
            p -= select(vec4<f32>(), vec4<f32>(1.0), here);
        }
        set_quad(at + i, select(vec4<f32>(), p * count, known(i)));
    }
}
