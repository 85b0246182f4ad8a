// The norm of the residual stream times gate and up: silu(gate) * up.
#import pixel_llm::types::GateUpParams
#import pixel_llm::multiply_pair::multiply_pair
#import pixel_llm::norm::inverse_rms

@group(0) @binding(4) var<uniform> params: GateUpParams;
// [columns, hidden / 4]
@group(0) @binding(5) var<storage, read_write> hidden: array<vec4<f32>>;

@compute @workgroup_size(8)
fn gate_up(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let column = group.y;
    if column >= params.columns {
        return;
    }
    let quad = group.x * 8u + lane;
    let products = multiply_pair(params.gate, params.up, column, quad * 4u, lane);
    let scale = inverse_rms(column, params.gate.columns, params.norm_epsilon, lane);
    let gate = products.low * scale;
    let up = products.high * scale;
    let at = column * (params.gate.rows >> 2u) + quad;
    if quad * 4u < params.gate.rows && at < arrayLength(&hidden) {
        hidden[at] = gate / (vec4<f32>(1.0) + exp(-gate)) * up;
    }
}
