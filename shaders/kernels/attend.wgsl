// Self-attention: a workgroup per column and HEADS query heads that share a KV head.
#import pixel_llm::layer_bindings::layer
#import pixel_llm::phases::attend::attend_heads

@compute @workgroup_size(8)
fn attend(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    attend_heads(layer.attend, group.x, group.y, lane);
}
