// Matrices times activations: consecutive rows per lane, a block of 32 inputs per step, for COLUMNS
// columns at once. The activations begin at `place`.
#define_import_path pixel_llm::multiply
#import pixel_llm::types::MatrixParams
#import pixel_llm::page::{Row, locate, after, tiles_across, blocks_in_tile}
#import pixel_llm::encoding::lines_of
#import pixel_llm::columns::{Chosen, PerColumn, sum, number_of, load_inputs, dot_columns}
#ifdef SPLIT
#import pixel_llm::split::{multiply_row, sum_row}
#endif

// Four rows.
struct Four {
    a: PerColumn,
    b: PerColumn,
    c: PerColumn,
    d: PerColumn,
}

// Eight rows, which may be of two matrices.
struct Eight {
    low: Four,
    high: Four,
}

// The four rows of one column.
fn of_column(v: Four, j: u32) -> vec4<f32> {
    return vec4<f32>(number_of(v.a, j), number_of(v.b, j), number_of(v.c, j), number_of(v.d, j));
}

#ifdef SPLIT
// As below: the lanes of the workgroup take one row each, and several of them share its inputs.
fn multiply_eight(
    a: MatrixParams,
    first_a: u32,
    b: MatrixParams,
    first_b: u32,
    stride: u32,
    place: u32,
    columns: Chosen,
    lane: u32,
) -> Eight {
    let i = lane & 7u;
    let start = ((lane & 63u) >> 3u) * stride;
    if i < 4u {
        multiply_row(a, first_a + start + i, place, columns, lane, lane >> 6u, 4u);
    } else {
        multiply_row(b, first_b + start + i - 4u, place, columns, lane, lane >> 6u, 4u);
    }
    workgroupBarrier();
    let row = lane * 8u;
    return Eight(
        Four(
            sum_row(row, 64u),
            sum_row(row + 1u, 64u),
            sum_row(row + 2u, 64u),
            sum_row(row + 3u, 64u),
        ),
        Four(
            sum_row(row + 4u, 64u),
            sum_row(row + 5u, 64u),
            sum_row(row + 6u, 64u),
            sum_row(row + 7u, 64u),
        ),
    );
}

fn multiply_four(m: MatrixParams, first: u32, place: u32, columns: Chosen, lane: u32) -> Four {
    multiply_row(m, first + (lane & 31u), place, columns, lane, lane >> 5u, 8u);
    workgroupBarrier();
    let row = lane * 4u;
    return Four(
        sum_row(row, 32u), sum_row(row + 1u, 32u), sum_row(row + 2u, 32u), sum_row(row + 3u, 32u),
    );
}
#else
// For each of eight lanes, four rows of `a` and four of `b`: from the first row on, `stride` rows
// per lane. Both matrices have the same inputs and the same encoding. Only the first eight lanes
// get a result.
fn multiply_eight(
    a: MatrixParams,
    first_a: u32,
    b: MatrixParams,
    first_b: u32,
    stride: u32,
    place: u32,
    columns: Chosen,
    lane: u32,
) -> Eight {
    let row_a = first_a + lane * stride;
    let row_b = first_b + lane * stride;
    var low: Four;
    var high: Four;
    let across = tiles_across(a);
    let blocks_per_tile = a.columns_per_tile >> 5u;
    for (var t = 0u; t < across; t++) {
        let n = blocks_in_tile(a, t);
        let lines = lines_of(n);
        let a0 = locate(a, row_a, t, lines);
        let a1 = after(a, a0, row_a, 1u);
        let a2 = after(a, a0, row_a, 2u);
        let a3 = after(a, a0, row_a, 3u);
        let b0 = locate(b, row_b, t, lines);
        let b1 = after(b, b0, row_b, 1u);
        let b2 = after(b, b0, row_b, 2u);
        let b3 = after(b, b0, row_b, 3u);
        for (var c = 0u; c < n; c++) {
            let v = load_inputs(a, place, columns, t * blocks_per_tile + c, lane);
            low.a = sum(low.a, dot_columns(a0, c, n, v));
            low.b = sum(low.b, dot_columns(a1, c, n, v));
            low.c = sum(low.c, dot_columns(a2, c, n, v));
            low.d = sum(low.d, dot_columns(a3, c, n, v));
            high.a = sum(high.a, dot_columns(b0, c, n, v));
            high.b = sum(high.b, dot_columns(b1, c, n, v));
            high.c = sum(high.c, dot_columns(b2, c, n, v));
            high.d = sum(high.d, dot_columns(b3, c, n, v));
        }
    }
    return Eight(low, high);
}

// For each of eight lanes, four rows of one matrix from `first` on: half of what a lane could hold,
// so that two threads get equal shares of a small matrix.
fn multiply_four(m: MatrixParams, first: u32, place: u32, columns: Chosen, lane: u32) -> Four {
    let row = first + lane * 4u;
    var sums: Four;
    let across = tiles_across(m);
    let blocks_per_tile = m.columns_per_tile >> 5u;
    for (var t = 0u; t < across; t++) {
        let n = blocks_in_tile(m, t);
        let lines = lines_of(n);
        let r0 = locate(m, row, t, lines);
        let r1 = after(m, r0, row, 1u);
        let r2 = after(m, r0, row, 2u);
        let r3 = after(m, r0, row, 3u);
        for (var c = 0u; c < n; c++) {
            let v = load_inputs(m, place, columns, t * blocks_per_tile + c, lane);
            sums.a = sum(sums.a, dot_columns(r0, c, n, v));
            sums.b = sum(sums.b, dot_columns(r1, c, n, v));
            sums.c = sum(sums.c, dot_columns(r2, c, n, v));
            sums.d = sum(sums.d, dot_columns(r3, c, n, v));
        }
    }
    return sums;
}
#endif
