// The gradient of an adapter's factor, [rows, rank]: the sum over columns of what stands on both
// sides of it. A workgroup per 32 rows and two quads of the rank.
#import pixel_llm::activations::quad_at
#import pixel_llm::training::step::{bounded, column_count, columns}
#import pixel_llm::training::trained::{trained_at, set_trained, place_of_row}

struct OuterParams {
    // [columns, rows], and quads from one column to the next.
    input: u32,
    stride: u32,
    rows: u32,
    // [columns, rank], and quads from one column to the next.
    low: u32,
    low_stride: u32,
    low_quads: u32,
    gradient: u32,
    padding: u32,
}

@group(0) @binding(4) var<uniform> params: OuterParams;

@compute @workgroup_size(8)
fn outer(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = (group.x * 8u + lane) * 4u;
    let q = group.y * 2u;
    let quads = bounded(params.low_quads);
    let second = min(q + 1u, quads - 1u);
    let x = params.input + min(row, params.rows - 4u) / 4u;
    var a: array<vec4<f32>, 4>;
    var b: array<vec4<f32>, 4>;
    let count = column_count();
    for (var c = 0u; c < count; c++) {
        let v = quad_at(x + c * params.stride);
        let p = quad_at(params.low + c * params.low_stride + q);
        let r = quad_at(params.low + c * params.low_stride + second);
        for (var i = 0u; i < 4u; i++) {
            a[i] += p * v[i];
            b[i] += r * v[i];
        }
    }
    if row >= params.rows {
        return;
    }
    let begins = columns[0].z == 1u;
    for (var i = 0u; i < 4u; i++) {
        let at = place_of_row(params.gradient, row + i, q, quads);
        set_trained(at, a[i] + select(trained_at(at), vec4<f32>(), begins));
        if q + 1u < quads {
            let next = place_of_row(params.gradient, row + i, q + 1u, quads);
            set_trained(next, b[i] + select(trained_at(next), vec4<f32>(), begins));
        }
    }
}
