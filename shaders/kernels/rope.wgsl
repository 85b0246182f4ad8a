// Biases, norms per head and RoPE of query, key and value: a workgroup per head and column.
#import pixel_llm::layer_bindings::layer
#import pixel_llm::phases::rope::rotate_head

@compute @workgroup_size(8)
fn rope(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    rotate_head(layer.qkv, group.x, group.y, lane);
}
