// The norm of the residual stream times the query, key and value matrices: a workgroup per 64 rows
// and COLUMNS columns.
#import pixel_llm::layer_bindings::layer
#import pixel_llm::phases::qkv::project_qkv

@compute @workgroup_size(#{WORKGROUP})
fn qkv(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    project_qkv(layer.qkv, group.x, group.y * #{COLUMNS}u, lane);
}
