// A matrix times one column of activations: consecutive rows per lane, a block of 32 inputs per step.
#define_import_path pixel_llm::multiply
#import pixel_llm::types::MatrixParams
#import pixel_llm::page::{Row, locate, tiles_across, blocks_in_tile}
#import pixel_llm::block::{Block, share_block}
#import pixel_llm::encoding::{prescale, lines_of, dot_block}

// [columns, inputs / 4]
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

struct Eight {
    low: vec4<f32>,
    high: vec4<f32>,
}

fn load_block(m: MatrixParams, column: u32, block: u32, lane: u32) -> Block {
    let i = column * (m.columns >> 2u) + block * 8u + lane;
    return share_block(x[min(i, arrayLength(&x) - 1u)], prescale(lane), lane);
}

fn multiply_eight(m: MatrixParams, column: u32, row: u32, lane: u32) -> Eight {
    var low = vec4<f32>();
    var high = vec4<f32>();
    let across = tiles_across(m);
    let blocks_per_tile = m.columns_per_tile >> 5u;
    for (var t = 0u; t < across; t++) {
        let n = blocks_in_tile(m, t);
        let lines = lines_of(n);
        let r0 = locate(m, row, t, lines);
        let r1 = locate(m, row + 1u, t, lines);
        let r2 = locate(m, row + 2u, t, lines);
        let r3 = locate(m, row + 3u, t, lines);
        let r4 = locate(m, row + 4u, t, lines);
        let r5 = locate(m, row + 5u, t, lines);
        let r6 = locate(m, row + 6u, t, lines);
        let r7 = locate(m, row + 7u, t, lines);
        for (var c = 0u; c < n; c++) {
            let b = load_block(m, column, t * blocks_per_tile + c, lane);
            low.x += dot_block(r0, c, n, b);
            low.y += dot_block(r1, c, n, b);
            low.z += dot_block(r2, c, n, b);
            low.w += dot_block(r3, c, n, b);
            high.x += dot_block(r4, c, n, b);
            high.y += dot_block(r5, c, n, b);
            high.z += dot_block(r6, c, n, b);
            high.w += dot_block(r7, c, n, b);
        }
    }
    return Eight(low, high);
}

fn multiply_four(m: MatrixParams, column: u32, row: u32, lane: u32) -> vec4<f32> {
    var sums = vec4<f32>();
    let across = tiles_across(m);
    let blocks_per_tile = m.columns_per_tile >> 5u;
    for (var t = 0u; t < across; t++) {
        let n = blocks_in_tile(m, t);
        let lines = lines_of(n);
        let r0 = locate(m, row, t, lines);
        let r1 = locate(m, row + 1u, t, lines);
        let r2 = locate(m, row + 2u, t, lines);
        let r3 = locate(m, row + 3u, t, lines);
        for (var c = 0u; c < n; c++) {
            let b = load_block(m, column, t * blocks_per_tile + c, lane);
            sums.x += dot_block(r0, c, n, b);
            sums.y += dot_block(r1, c, n, b);
            sums.z += dot_block(r2, c, n, b);
            sums.w += dot_block(r3, c, n, b);
        }
    }
    return sums;
}
