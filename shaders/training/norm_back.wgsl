// RMS norm back: a workgroup per column. The gradient of the residual stream is added to, or begun
// where it comes from the wanted columns alone.
#import pixel_llm::lanes::lane_sum
#import pixel_llm::activations::{quad_at, set_quad}
#import pixel_llm::training::step::{
    NONE, add_to_result, bounded, column_count, is_there, target_at, vector_at,
}

struct NormBackParams {
    // The residual stream, and the gradient of its norm.
    input: u32,
    gradient: u32,
    // The norm's weight among the vectors.
    gain: u32,
    // Quads of a column.
    quads: u32,
    epsilon: f32,
    output: u32,
    // 1 where the gradient is that of the wanted columns, and nothing is there yet.
    begins: u32,
    // The first of the results that the squares of what is left are added to, one per column.
    result: u32,
}

@group(0) @binding(4) var<uniform> params: NormBackParams;

@compute @workgroup_size(8)
fn norm_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.y;
    if column >= column_count() {
        return;
    }
    let begins = bounded(params.begins) == 1u;
    let quads = bounded(params.quads);
    let at = params.input + column * quads;
    let output = params.output + column * quads;
    var row = column;
    if begins {
        row = target_at(column).z;
        if row == NONE {
            for (var i = lane; i < quads; i += 8u) {
                set_quad(output + i, vec4<f32>());
            }
            return;
        }
    }
    let given = params.gradient + row * quads;
    var squares = 0.0;
    var sum = 0.0;
    for (var i = lane; i < quads; i += 8u) {
        let v = quad_at(at + i);
        squares += dot(v, v);
        sum += dot(quad_at(given + i) * vector_at(params.gain + i), v);
    }
    let width = f32(quads * 4u);
    let rho = inverseSqrt(lane_sum(squares, lane) / width + params.epsilon);
    let share = lane_sum(sum, lane) * rho * rho / width;
    var left = 0.0;
    for (var i = lane; i < quads; i += 8u) {
        let d = quad_at(given + i) * vector_at(params.gain + i);
        var v = (d - quad_at(at + i) * share) * rho;
        if !begins {
            v += quad_at(output + i);
        }
        set_quad(output + i, v);
        left += dot(v, v);
    }
    left = lane_sum(left, lane);
    if lane == 0u && is_there(params.result) {
        add_to_result(params.result + column, left);
    }
}
