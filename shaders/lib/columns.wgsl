// The columns that a workgroup multiplies at once: one, four or eight, which share every block of
// weights.
#define_import_path pixel_llm::columns
#import pixel_llm::types::MatrixParams
#import pixel_llm::page::Row
#import pixel_llm::activations::quad_at
#import pixel_llm::block::{Block, share_block, dot_block}
#import pixel_llm::encoding::{prescale, weights_at}

// Which columns. Those from COLUMNS on do not count.
struct Chosen {
    low: vec4<u32>,
    high: vec4<u32>,
}

// A number per column.
struct PerColumn {
    low: vec4<f32>,
#if COLUMNS == 8
    high: vec4<f32>,
#endif
}

// Columns from `first` on; those past `count` repeat the last one.
fn columns_from(first: u32, count: u32) -> Chosen {
    let last = vec4<u32>(count - 1u);
    let low = vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u);
    return Chosen(min(low, last), min(low + vec4<u32>(4u), last));
}

fn sum(a: PerColumn, b: PerColumn) -> PerColumn {
#if COLUMNS == 8
    return PerColumn(a.low + b.low, a.high + b.high);
#else
    return PerColumn(a.low + b.low);
#endif
}

fn number_of(v: PerColumn, column: u32) -> f32 {
#if COLUMNS == 8
    return select(v.low[column & 3u], v.high[column & 3u], column >= 4u);
#else
    return v.low[column & 3u];
#endif
}

// A block of activations, which begin at `place` and are [columns, inputs / 4].
fn load_block(m: MatrixParams, place: u32, column: u32, block: u32, lane: u32) -> Block {
    let at = place + column * (m.columns >> 2u) + block * 8u;
#ifdef SPLIT
    // Every lane is at a row of its own and reads the whole block, as the lanes beside it do.
    var v = array<vec4<f32>, 8>(
        quad_at(at), quad_at(at + 1u), quad_at(at + 2u), quad_at(at + 3u),
        quad_at(at + 4u), quad_at(at + 5u), quad_at(at + 6u), quad_at(at + 7u),
    );
    let low = (v[0] + v[1]) + (v[2] + v[3]);
    let high = (v[4] + v[5]) + (v[6] + v[7]);
    for (var i = 0u; i < 8u; i++) {
        v[i] *= prescale(i);
    }
    return Block(v, (low.x + low.y) + (low.z + low.w), (high.x + high.y) + (high.z + high.w));
#else
    return share_block(quad_at(at + lane), prescale(lane), lane);
#endif
}

// The same block of every column.
struct Inputs {
    a: Block,
#if COLUMNS >= 4
    b: Block,
    c: Block,
    d: Block,
#endif
#if COLUMNS == 8
    e: Block,
    f: Block,
    g: Block,
    h: Block,
#endif
}

fn load_inputs(m: MatrixParams, place: u32, columns: Chosen, block: u32, lane: u32) -> Inputs {
    var v: Inputs;
    v.a = load_block(m, place, columns.low.x, block, lane);
#if COLUMNS >= 4
    v.b = load_block(m, place, columns.low.y, block, lane);
    v.c = load_block(m, place, columns.low.z, block, lane);
    v.d = load_block(m, place, columns.low.w, block, lane);
#endif
#if COLUMNS == 8
    v.e = load_block(m, place, columns.high.x, block, lane);
    v.f = load_block(m, place, columns.high.y, block, lane);
    v.g = load_block(m, place, columns.high.z, block, lane);
    v.h = load_block(m, place, columns.high.w, block, lane);
#endif
    return v;
}

// A block of a row times every column. With one column only the first number counts.
fn dot_columns(r: Row, c: u32, n: u32, v: Inputs) -> PerColumn {
    let w = weights_at(r, c, n);
    var sums: PerColumn;
    sums.low.x = dot_block(w, v.a);
#if COLUMNS >= 4
    sums.low = vec4<f32>(sums.low.x, dot_block(w, v.b), dot_block(w, v.c), dot_block(w, v.d));
#endif
#if COLUMNS == 8
    sums.high = vec4<f32>(
        dot_block(w, v.e), dot_block(w, v.f), dot_block(w, v.g), dot_block(w, v.h),
    );
#endif
    return sums;
}
