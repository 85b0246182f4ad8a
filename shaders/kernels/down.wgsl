// The matrix back from the hidden layer, added to the residual stream: a workgroup per 32 rows and
// COLUMNS columns.
#import pixel_llm::layer_bindings::{layer, down_biases}
#import pixel_llm::activations::places
#import pixel_llm::phases::add::add_to_residual

@compute @workgroup_size(#{WORKGROUP})
fn down(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let params = layer.down;
    add_to_residual(
        params.matrix,
        params.layer_scale,
        places.hidden,
        params.matrix.rows >> 2u,
        down_biases(),
        group.x,
        group.y * #{COLUMNS}u,
        params.columns,
        lane,
    );
}
