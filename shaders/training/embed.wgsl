// Token ids to rows of the residual stream: a workgroup per column.
#import pixel_llm::types::MatrixParams
#import pixel_llm::page::{locate, tiles_across, blocks_in_tile}
#import pixel_llm::encoding::{lines_of, weights_at, values_of}
#import pixel_llm::activations::set_quad
#import pixel_llm::training::step::{column_count, column_at}

struct EmbedParams {
    matrix: MatrixParams,
    output: u32,
    padding_a: u32,
    padding_b: u32,
    padding_c: u32,
}

@group(0) @binding(4) var<uniform> params: EmbedParams;

@compute @workgroup_size(8)
fn embed(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.y;
    if column >= column_count() {
        return;
    }
    let m = params.matrix;
    let across = tiles_across(m);
    for (var t = 0u; t < across; t++) {
        let n = blocks_in_tile(m, t);
        let row = locate(m, column_at(column).x, t, lines_of(n));
        for (var c = lane; c < n; c += 8u) {
            var values = values_of(weights_at(row, c, n));
            let quad = (t * (m.columns_per_tile >> 5u) + c) * 8u;
            for (var i = 0u; i < 8u; i++) {
                set_quad(params.output + column * (m.columns >> 2u) + quad + i, values[i]);
            }
        }
    }
}
