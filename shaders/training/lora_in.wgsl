// Activations times the small side of an adapter: `output = scale factor^T input` with a factor
// [width, rank]. A workgroup per quad of the rank and eight columns.
#import pixel_llm::lanes::lane_sum
#import pixel_llm::activations::{quad_at, set_quad}
#import pixel_llm::training::step::{bounded, column_count}
#import pixel_llm::training::trained::{trained_at, place_of_row}

struct LoraInParams {
    input: u32,
    // Quads of a column of the input that are multiplied, and from one column to the next.
    quads: u32,
    stride: u32,
    factor: u32,
    // Quads of the rank.
    low_quads: u32,
    output: u32,
    output_stride: u32,
    scale: f32,
}

@group(0) @binding(4) var<uniform> params: LoraInParams;

@compute @workgroup_size(8)
fn lora_in(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let q = group.x;
    let first = group.y * 8u;
    let count = column_count();
    if first >= count {
        return;
    }
    let last = count - 1u;
    var sums: array<vec4<f32>, 8>;
    let quads = bounded(params.quads);
    for (var i = lane; i < quads; i += 8u) {
        let at = place_of_row(params.factor, i * 4u, q, params.low_quads);
        let a = trained_at(at);
        let b = trained_at(at + 1u);
        let c = trained_at(at + 2u);
        let d = trained_at(at + 3u);
        for (var j = 0u; j < 8u; j++) {
            let v = quad_at(params.input + min(first + j, last) * params.stride + i);
            sums[j] += (a * v.x + b * v.y) + (c * v.z + d * v.w);
        }
    }
    for (var j = 0u; j < 8u; j++) {
        let v = vec4<f32>(
            lane_sum(sums[j].x, lane), lane_sum(sums[j].y, lane),
            lane_sum(sums[j].z, lane), lane_sum(sums[j].w, lane),
        );
        if lane == 0u && first + j < count {
            set_quad(params.output + (first + j) * params.output_stride + q, v * params.scale);
        }
    }
}
