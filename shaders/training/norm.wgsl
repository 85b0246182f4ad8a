// RMS norm: a workgroup per row, which is a column or one of those that are wanted.
#import pixel_llm::lanes::lane_sum
#import pixel_llm::activations::{quad_at, set_quad}
#import pixel_llm::training::step::{NONE, bounded, column_count, wanted_count, wanted_at, vector_at}

struct NormParams {
    input: u32,
    output: u32,
    // Its weight among the vectors.
    gain: u32,
    // Quads of a row.
    quads: u32,
    epsilon: f32,
    // The first of the wanted columns, or none where all columns are normed.
    first: u32,
    padding_a: u32,
    padding_b: u32,
}

@group(0) @binding(4) var<uniform> params: NormParams;

@compute @workgroup_size(8)
fn norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y;
    let first = bounded(params.first);
    var column = row;
    if first != NONE {
        column = wanted_at(first + row);
        if first + row >= wanted_count() {
            return;
        }
    } else if row >= column_count() {
        return;
    }
    let quads = bounded(params.quads);
    let at = params.input + column * quads;
    var squares = 0.0;
    for (var i = lane; i < quads; i += 8u) {
        let v = quad_at(at + i);
        squares += dot(v, v);
    }
    let mean = lane_sum(squares, lane) / f32(quads * 4u);
    let rho = inverseSqrt(mean + params.epsilon);
    for (var i = lane; i < quads; i += 8u) {
        set_quad(
            params.output + row * quads + i, quad_at(at + i) * rho * vector_at(params.gain + i),
        );
    }
}
