// The matrix back from the hidden layer, added to the residual stream.
#import pixel_llm::types::DownParams
#import pixel_llm::residual::add_to_residual

@group(0) @binding(3) var<uniform> params: DownParams;

@compute @workgroup_size(8)
fn down(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    add_to_residual(params.matrix, params.layer_scale, group.xy, params.columns, lane);
}
