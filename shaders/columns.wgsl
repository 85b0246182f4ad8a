// The columns that a workgroup multiplies at once: one, or four that share every decoded block of weights.
#define_import_path pixel_llm::columns
#import pixel_llm::types::MatrixParams
#import pixel_llm::page::Row
#import pixel_llm::activations::quad_at
#import pixel_llm::block::{Block, share_block, spread_block}
#import pixel_llm::encoding::{prescale, dot_block, decode_block}

// This lane's quad of a block of activations, which begin at `place` and are [columns, inputs / 4].
fn four_inputs(m: MatrixParams, place: u32, column: u32, block: u32, lane: u32) -> vec4<f32> {
    return quad_at(place + column * (m.columns >> 2u) + block * 8u + lane);
}

#if COLUMNS == 1
struct Inputs {
    block: Block,
}

fn load_inputs(m: MatrixParams, place: u32, columns: vec4<u32>, block: u32, lane: u32) -> Inputs {
    return Inputs(share_block(four_inputs(m, place, columns.x, block, lane), prescale(lane), lane));
}

// A block of a row times every column. With one column only the first sum counts.
fn dot_columns(r: Row, c: u32, n: u32, v: Inputs) -> vec4<f32> {
    return vec4<f32>(dot_block(r, c, n, v.block), 0.0, 0.0, 0.0);
}
#else
struct Inputs {
    a: array<vec4<f32>, 8>,
    b: array<vec4<f32>, 8>,
    c: array<vec4<f32>, 8>,
    d: array<vec4<f32>, 8>,
}

fn load_inputs(m: MatrixParams, place: u32, columns: vec4<u32>, block: u32, lane: u32) -> Inputs {
    return Inputs(
        spread_block(four_inputs(m, place, columns.x, block, lane)),
        spread_block(four_inputs(m, place, columns.y, block, lane)),
        spread_block(four_inputs(m, place, columns.z, block, lane)),
        spread_block(four_inputs(m, place, columns.w, block, lane)),
    );
}

fn dot_values(w: array<vec4<f32>, 8>, v: array<vec4<f32>, 8>) -> f32 {
    let t = ((w[0] * v[0] + w[1] * v[1]) + (w[2] * v[2] + w[3] * v[3])) + ((w[4] * v[4] + w[5] * v[5]) + (w[6] * v[6] + w[7] * v[7]));
    return (t.x + t.y) + (t.z + t.w);
}

// A block of a row times every column: it is decoded once.
fn dot_columns(r: Row, c: u32, n: u32, v: Inputs) -> vec4<f32> {
    let w = decode_block(r, c, n);
    return vec4<f32>(dot_values(w, v.a), dot_values(w, v.b), dot_values(w, v.c), dot_values(w, v.d));
}
#endif
