// `A x` of all adapters, for what the matrices of POINT read: a workgroup per quad of their ranks
// and column.
#import pixel_llm::adapters::narrow_column

@compute @workgroup_size(8)
fn narrow(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    narrow_column(#{POINT}u, group.x, group.y, lane);
}
