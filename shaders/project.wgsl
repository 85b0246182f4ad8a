// The attention output matrix, added to the residual stream.
#import pixel_llm::types::ProjectParams
#import pixel_llm::residual::add_to_residual

@group(0) @binding(3) var<uniform> params: ProjectParams;

@compute @workgroup_size(8)
fn project(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    add_to_residual(params.matrix, params.layer_scale, group.xy, params.columns, lane);
}
