// The norm of the residual stream times gate and up, silu(gate) * up: a workgroup per 32 rows and
// COLUMNS columns.
#import pixel_llm::layer_bindings::layer
#import pixel_llm::phases::gate_up::gate_and_up

@compute @workgroup_size(#{WORKGROUP})
fn gate_up(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    gate_and_up(layer.gate_up, group.x, group.y * #{COLUMNS}u, lane);
}
