// One row per lane of a workgroup of 256, and several lanes per row, each with a slice of the
// inputs: for GPUs, whose lanes are many and read side by side.
#define_import_path pixel_llm::split
#import pixel_llm::types::MatrixParams
#import pixel_llm::page::{locate, tiles_across, blocks_in_tile}
#import pixel_llm::encoding::lines_of
#import pixel_llm::columns::{Chosen, PerColumn, sum, load_inputs, dot_columns}

// A sum per lane.
var<workgroup> partial: array<PerColumn, 256>;

// Every block of a row that belongs to this lane's slice.
fn multiply_row(
    m: MatrixParams,
    row: u32,
    place: u32,
    columns: Chosen,
    lane: u32,
    slice: u32,
    slices: u32,
) {
    var sums: PerColumn;
    let across = tiles_across(m);
    let blocks_per_tile = m.columns_per_tile >> 5u;
    for (var t = 0u; t < across; t++) {
        let n = blocks_in_tile(m, t);
        let r = locate(m, row, t, lines_of(n));
        for (var c = slice; c < n; c += slices) {
            let v = load_inputs(m, place, columns, t * blocks_per_tile + c, lane);
            sums = sum(sums, dot_columns(r, c, n, v));
        }
    }
    partial[lane & 255u] = sums;
}

// The slices of one of `rows` rows together.
fn sum_row(row: u32, rows: u32) -> PerColumn {
    var sums: PerColumn;
    for (var i = row; i < 256u; i += rows) {
        sums = sum(sums, partial[i]);
    }
    return sums;
}
