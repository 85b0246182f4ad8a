// Gradients of a product's inputs, `input = output W`, from the pages that the product itself
// reads: a lane has PART inputs of a row and goes through the rows. A workgroup for 8 of these and
// COLUMNS columns.
#import pixel_llm::types::MatrixParams
#import pixel_llm::page::{Row, locate, tiles_across, blocks_in_tile}
#import pixel_llm::weights::Weights
#import pixel_llm::encoding::{lines_of, prescale, weights_at}
#import pixel_llm::activations::{quad_at, set_quad}
#import pixel_llm::training::step::{NONE, bounded, is_there, column_count, wanted_count}
#import pixel_llm::training::trained::{trained_at, place_of_row}

struct BackParams {
    matrix: MatrixParams,
    // Gradients of the product, [columns, stride quads].
    input: u32,
    stride: u32,
    // Gradients of its inputs, [columns, inputs], to which is added or not.
    output: u32,
    added: u32,
    // Row groups that are gone through.
    first_group: u32,
    last_group: u32,
    // What the adapters of these inputs have made of their gradients, [columns, quads]; quads of
    // their rank, 0 for none, and their first factor.
    low: u32,
    low_quads: u32,
    factor: u32,
    // The first of the wanted columns, or none where all columns are multiplied; and the most.
    first: u32,
    most: u32,
    padding: u32,
}

@group(0) @binding(4) var<uniform> params: BackParams;

// Quads of a lane.
const QUADS: u32 = #{PART}u / 4u;

// What a lane sums up for a column: its inputs, before prescales, and offsets of both halves. Named
// one by one: what a software adapter indexes by a loop's counter it keeps in memory (measured: 12
// times slower).
struct Sums {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
#if PART == 32
    e: vec4<f32>,
    f: vec4<f32>,
    g: vec4<f32>,
    h: vec4<f32>,
#endif
    offset: vec2<f32>,
}

struct PerColumn {
    a: Sums,
    b: Sums,
    c: Sums,
    d: Sums,
#if COLUMNS == 8
    e: Sums,
    f: Sums,
    g: Sums,
    h: Sums,
#endif
}

// A lane's weights of a row, as sums have them.
fn weights_of(row: Row, block: u32, n: u32, upper: bool) -> Weights {
    var w = weights_at(row, block, n);
#if PART == 16
    w.codes[0] = select(w.codes[0], w.codes[4], upper);
    w.codes[1] = select(w.codes[1], w.codes[5], upper);
    w.codes[2] = select(w.codes[2], w.codes[6], upper);
    w.codes[3] = select(w.codes[3], w.codes[7], upper);
    w.scale.x = select(w.scale.x, w.scale.y, upper);
    w.offset.x = select(w.offset.x, w.offset.y, upper);
#endif
    return w;
}

fn add(sums: Sums, w: Weights, d: f32) -> Sums {
    let s = w.scale * d;
    return Sums(
        sums.a + w.codes[0] * s.x,
        sums.b + w.codes[1] * s.x,
        sums.c + w.codes[2] * s.x,
        sums.d + w.codes[3] * s.x,
#if PART == 32
        sums.e + w.codes[4] * s.y,
        sums.f + w.codes[5] * s.y,
        sums.g + w.codes[6] * s.y,
        sums.h + w.codes[7] * s.y,
#endif
        sums.offset + w.offset * d,
    );
}

// A row's weights times the gradient of each column.
fn add_row(sums: PerColumn, w: Weights, low: vec4<f32>, high: vec4<f32>) -> PerColumn {
    return PerColumn(
        add(sums.a, w, low.x), add(sums.b, w, low.y), add(sums.c, w, low.z), add(sums.d, w, low.w),
#if COLUMNS == 8
        add(sums.e, w, high.x), add(sums.f, w, high.y),
        add(sums.g, w, high.z), add(sums.h, w, high.w),
#endif
    );
}

// The sums of a column with prescales and offsets.
fn ended(v: Sums, upper: bool) -> array<vec4<f32>, QUADS> {
    let low = vec4<f32>(v.offset.x);
    let high = vec4<f32>(v.offset.y);
#if PART == 16
    return array<vec4<f32>, QUADS>(
        v.a * select(prescale(0u), prescale(4u), upper) + low,
        v.b * select(prescale(1u), prescale(5u), upper) + low,
        v.c * select(prescale(2u), prescale(6u), upper) + low,
        v.d * select(prescale(3u), prescale(7u), upper) + low,
    );
#else
    return array<vec4<f32>, QUADS>(
        v.a * prescale(0u) + low, v.b * prescale(1u) + low,
        v.c * prescale(2u) + low, v.d * prescale(3u) + low,
        v.e * prescale(4u) + high, v.f * prescale(5u) + high,
        v.g * prescale(6u) + high, v.h * prescale(7u) + high,
    );
#endif
}

fn count_of(first: u32) -> u32 {
    let all = wanted_count();
    return select(min(all - min(first, all), params.most), column_count(), first == NONE);
}

@compute @workgroup_size(8)
fn back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let m = params.matrix;
    let first = group.y * #{COLUMNS}u;
    let count = count_of(bounded(params.first));
    if first >= count {
        return;
    }
    // Lanes past the last part repeat it.
    let parts = m.columns / #{PART}u;
    let part = min(group.x * 8u + lane, parts - 1u);
#if PART == 16
    let block = part >> 1u;
    let upper = (part & 1u) == 1u;
#else
    let upper = false;
    let block = part;
#endif
    let per_tile = m.columns_per_tile >> 5u;
    let across = block / per_tile;
    let c = block - across * per_tile;
    let n = blocks_in_tile(m, across);
    let lines = lines_of(n);

    let last = count - 1u;
    let place = params.input;
    let stride = params.stride;
    var all: PerColumn;
    let last_group = bounded(params.last_group);
    for (var g = params.first_group; g < last_group; g++) {
        let row = locate(m, g * 64u, across, lines);
        let rows = min(64u, m.rows - g * 64u);
        for (var x = 0u; x < rows; x += 4u) {
            let at = place + ((g * 64u + x) >> 2u);
            let a = quad_at(at + min(first, last) * stride);
            let b = quad_at(at + min(first + 1u, last) * stride);
            let e = quad_at(at + min(first + 2u, last) * stride);
            let f = quad_at(at + min(first + 3u, last) * stride);
#if COLUMNS == 8
            let i = quad_at(at + min(first + 4u, last) * stride);
            let j = quad_at(at + min(first + 5u, last) * stride);
            let k = quad_at(at + min(first + 6u, last) * stride);
            let l = quad_at(at + min(first + 7u, last) * stride);
#else
            let i = a;
            let j = a;
            let k = a;
            let l = a;
#endif
            let v = weights_of(Row(x, row.y, row.layer), c, n, upper);
            all = add_row(
                all, v, vec4<f32>(a.x, b.x, e.x, f.x), vec4<f32>(i.x, j.x, k.x, l.x),
            );
            let w = weights_of(Row(x + 1u, row.y, row.layer), c, n, upper);
            all = add_row(
                all, w, vec4<f32>(a.y, b.y, e.y, f.y), vec4<f32>(i.y, j.y, k.y, l.y),
            );
            let y = weights_of(Row(x + 2u, row.y, row.layer), c, n, upper);
            all = add_row(
                all, y, vec4<f32>(a.z, b.z, e.z, f.z), vec4<f32>(i.z, j.z, k.z, l.z),
            );
            let z = weights_of(Row(x + 3u, row.y, row.layer), c, n, upper);
            all = add_row(
                all, z, vec4<f32>(a.w, b.w, e.w, f.w), vec4<f32>(i.w, j.w, k.w, l.w),
            );
        }
    }
    var sums = array<array<vec4<f32>, QUADS>, #{COLUMNS}>(
        ended(all.a, upper), ended(all.b, upper), ended(all.c, upper), ended(all.d, upper),
#if COLUMNS == 8
        ended(all.e, upper), ended(all.f, upper), ended(all.g, upper), ended(all.h, upper),
#endif
    );
    let low_quads = bounded(params.low_quads);
    for (var q = 0u; q < low_quads; q++) {
        for (var i = 0u; i < QUADS; i++) {
            let at = place_of_row(params.factor, part * #{PART}u + i * 4u, q, low_quads);
            let a = trained_at(at);
            let b = trained_at(at + 1u);
            let e = trained_at(at + 2u);
            let f = trained_at(at + 3u);
            for (var j = 0u; j < #{COLUMNS}u; j++) {
                let v = quad_at(params.low + min(first + j, count - 1u) * low_quads + q);
                sums[j][i] += vec4<f32>(dot(a, v), dot(b, v), dot(e, v), dot(f, v));
            }
        }
    }
    for (var j = 0u; j < #{COLUMNS}u; j++) {
        let at = params.output + (first + j) * (m.columns >> 2u) + part * QUADS;
        if first + j < count && group.x * 8u + lane < parts {
            for (var i = 0u; i < QUADS; i++) {
                var v = sums[j][i];
                if bounded(params.added) != 0u {
                    v += quad_at(at + i);
                }
                set_quad(at + i, v);
            }
        }
    }
}
