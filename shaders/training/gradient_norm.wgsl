// The sum of squares of 4096 numbers of the gradient: a workgroup for each.
#import pixel_llm::lanes::lane_sum
#import pixel_llm::training::step::{bounded, set_result}
#import pixel_llm::training::trained::trained_at

struct GradientNormParams {
    gradient: u32,
    quads: u32,
    // The first of the results.
    result: u32,
    padding: u32,
}

@group(0) @binding(4) var<uniform> params: GradientNormParams;

@compute @workgroup_size(8)
fn gradient_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let piece = group.y * 256u + group.x;
    let end = min((piece + 1u) * 1024u, bounded(params.quads));
    var sums = vec4<f32>();
    for (var i = piece * 1024u + lane; i < end; i += 8u) {
        let v = trained_at(params.gradient + i);
        sums += v * v;
    }
    let sum = lane_sum((sums.x + sums.y) + (sums.z + sums.w), lane);
    if lane == 0u {
        set_result(params.result + piece, sum);
    }
}
