// Two matrices of one shape and encoding times one column: four rows of each per lane share every block of activations.
#define_import_path pixel_llm::multiply_pair
#import pixel_llm::types::MatrixParams
#import pixel_llm::page::{Row, locate, tiles_across, blocks_in_tile}
#import pixel_llm::encoding::{lines_of, dot_block}
#import pixel_llm::multiply::{Eight, load_block}

fn multiply_pair(a: MatrixParams, b: MatrixParams, column: u32, row: u32, lane: u32) -> Eight {
    var low = vec4<f32>();
    var high = vec4<f32>();
    let across = tiles_across(a);
    let blocks_per_tile = a.columns_per_tile >> 5u;
    for (var t = 0u; t < across; t++) {
        let n = blocks_in_tile(a, t);
        let lines = lines_of(n);
        let r0 = locate(a, row, t, lines);
        let r1 = locate(a, row + 1u, t, lines);
        let r2 = locate(a, row + 2u, t, lines);
        let r3 = locate(a, row + 3u, t, lines);
        let r4 = locate(b, row, t, lines);
        let r5 = locate(b, row + 1u, t, lines);
        let r6 = locate(b, row + 2u, t, lines);
        let r7 = locate(b, row + 3u, t, lines);
        for (var c = 0u; c < n; c++) {
            let v = load_block(a, column, t * blocks_per_tile + c, lane);
            low.x += dot_block(r0, c, n, v);
            low.y += dot_block(r1, c, n, v);
            low.z += dot_block(r2, c, n, v);
            low.w += dot_block(r3, c, n, v);
            high.x += dot_block(r4, c, n, v);
            high.y += dot_block(r5, c, n, v);
            high.z += dot_block(r6, c, n, v);
            high.w += dot_block(r7, c, n, v);
        }
    }
    return Eight(low, high);
}
