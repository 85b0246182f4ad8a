// `silu(gate) * up`: a workgroup per 128 quads of a column.
#import pixel_llm::activations::{quad_at, set_quad}
#import pixel_llm::training::step::{bounded, column_count}

struct SwigluParams {
    gate: u32,
    up: u32,
    // What is written, or the gradient of it.
    hidden: u32,
    // Quads of a column.
    quads: u32,
}

@group(0) @binding(4) var<uniform> params: SwigluParams;

@compute @workgroup_size(8)
fn swiglu(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let quads = bounded(params.quads);
    if group.y >= column_count() {
        return;
    }
    let end = min((group.x + 1u) * 128u, quads);
    for (var i = group.x * 128u + lane; i < end; i += 8u) {
        let at = group.y * quads + i;
        let gate = quad_at(params.gate + at);
        let silu = gate / (vec4<f32>(1.0) + exp(-gate));
        set_quad(params.hidden + at, silu * quad_at(params.up + at));
    }
}
