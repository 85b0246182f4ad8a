// The norm of the residual stream times gate and up: silu(gate) * up.
#import pixel_llm::types::GateUpParams
#import pixel_llm::multiply::{multiply_eight, of_column}
#import pixel_llm::norm::inverse_rms

@group(0) @binding(4) var<uniform> params: GateUpParams;
// [columns, hidden / 4]
@group(0) @binding(5) var<storage, read_write> hidden: array<vec4<f32>>;

@compute @workgroup_size(8)
fn gate_up(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first = group.y * #{COLUMNS}u;
    let columns = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.columns - 1u));
    let quad = group.x * 8u + lane;
    let products = multiply_eight(params.gate, quad * 4u, params.up, quad * 4u, columns, lane);
    for (var j = 0u; j < #{COLUMNS}u; j++) {
        let column = first + j;
        if column >= params.columns {
            return;
        }
        let scale = inverse_rms(column, params.gate.columns, params.norm_epsilon, lane);
        let gate = of_column(products.low, j) * scale;
        let up = of_column(products.high, j) * scale;
        let at = column * (params.gate.rows >> 2u) + quad;
        if quad * 4u < params.gate.rows && at < arrayLength(&hidden) {
            hidden[at] = gate / (vec4<f32>(1.0) + exp(-gate)) * up;
        }
    }
}
