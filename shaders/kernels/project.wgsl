// The attention output matrix, added to the residual stream: a workgroup per 32 rows and COLUMNS
// columns.
#import pixel_llm::layer_bindings::layer
#import pixel_llm::phases::add::add_attention

@compute @workgroup_size(#{WORKGROUP})
fn project(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    add_attention(group.x, group.y * #{COLUMNS}u, layer.project.columns, lane);
}
