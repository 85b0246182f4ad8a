// A matrix times activations, with its bias and what an adapter adds: a workgroup per 64 rows and
// COLUMNS columns.
#import pixel_llm::types::MatrixParams
#import pixel_llm::columns::columns_from
#import pixel_llm::multiply::{multiply_eight, of_column}
#import pixel_llm::activations::{quad_at, set_quad}
#import pixel_llm::training::step::{
    NONE, bounded, is_there, column_count, wanted_count, vector_at,
}
#import pixel_llm::training::trained::{trained_at, place_of_row}

struct ProductParams {
    matrix: MatrixParams,
    input: u32,
    output: u32,
    // Quads of a column of the output.
    stride: u32,
    // Rows that are written: the surplus ones of the last group have a place where they are.
    rows: u32,
    // Among the vectors, or none.
    bias: u32,
    // What is added, `[columns, rows]` of the activations, or none.
    added: u32,
    // What the adapter has made of the inputs, and quads of a column of it.
    low: u32,
    low_stride: u32,
    // Quads of the adapter's rank, 0 for none, and its second factor.
    low_quads: u32,
    factor: u32,
    // The first of the wanted columns, or none where all columns are multiplied; and the most.
    first: u32,
    most: u32,
}

@group(0) @binding(4) var<uniform> params: ProductParams;

fn count_of(first: u32) -> u32 {
    let all = wanted_count();
    return select(min(all - min(first, all), params.most), column_count(), first == NONE);
}

@compute @workgroup_size(8)
fn product(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let m = params.matrix;
    let row = (group.x * 8u + lane) * 8u;
    let first = group.y * #{COLUMNS}u;
    let count = count_of(bounded(params.first));
    if first >= count {
        return;
    }
    let columns = columns_from(first, count);
    let products = multiply_eight(
        m, group.x * 64u, m, group.x * 64u + 4u, 8u, params.input, columns, lane,
    );
    var low: array<vec4<f32>, #{COLUMNS}>;
    var high: array<vec4<f32>, #{COLUMNS}>;
    for (var j = 0u; j < #{COLUMNS}u; j++) {
        low[j] = of_column(products.low, j);
        high[j] = of_column(products.high, j);
    }
    let quads = bounded(params.low_quads);
    for (var q = 0u; q < quads; q++) {
        let at = place_of_row(params.factor, row, q, quads);
        let a = trained_at(at);
        let b = trained_at(at + 1u);
        let c = trained_at(at + 2u);
        let d = trained_at(at + 3u);
        let e = trained_at(at + 4u);
        let f = trained_at(at + 5u);
        let g = trained_at(at + 6u);
        let h = trained_at(at + 7u);
        for (var j = 0u; j < #{COLUMNS}u; j++) {
            let v = quad_at(params.low + min(first + j, count - 1u) * params.low_stride + q);
            low[j] += vec4<f32>(dot(a, v), dot(b, v), dot(c, v), dot(d, v));
            high[j] += vec4<f32>(dot(e, v), dot(f, v), dot(g, v), dot(h, v));
        }
    }
    if is_there(params.bias) {
        let a = vector_at(params.bias + (row >> 2u));
        let b = vector_at(params.bias + (row >> 2u) + 1u);
        for (var j = 0u; j < #{COLUMNS}u; j++) {
            low[j] += a;
            high[j] += b;
        }
    }
    for (var j = 0u; j < #{COLUMNS}u; j++) {
        let place = (first + j) * params.stride + (row >> 2u);
        if first + j < count && row < params.rows {
            if is_there(params.added) {
                low[j] += quad_at(params.added + place);
            }
            set_quad(params.output + place, low[j]);
        }
        if first + j < count && row + 4u < params.rows {
            if is_there(params.added) {
                high[j] += quad_at(params.added + place + 1u);
            }
            set_quad(params.output + place + 1u, high[j]);
        }
    }
}
