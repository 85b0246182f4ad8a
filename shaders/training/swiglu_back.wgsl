// The gradients of gate and up from that of `silu(gate) * up`, in their places: a workgroup per 128
// quads of a column.
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
fn swiglu_back(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let quads = bounded(params.quads);
    if group.y >= column_count() {
        return;
    }
    let end = min((group.x + 1u) * 128u, quads);
    let one = vec4<f32>(1.0);
    for (var i = group.x * 128u + lane; i < end; i += 8u) {
        let at = group.y * quads + i;
        let gate = quad_at(params.gate + at);
        let up = quad_at(params.up + at);
        let d = quad_at(params.hidden + at);
        let sigmoid = one / (one + exp(-gate));
        set_quad(params.gate + at, d * up * sigmoid * (one + gate * (one - sigmoid)));
        set_quad(params.up + at, d * gate * sigmoid);
    }
}
