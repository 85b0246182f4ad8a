// The columns that a workgroup multiplies at once: one, or four that share every decoded block of weights.
#define_import_path pixel_llm::columns
#import pixel_llm::types::MatrixParams
#import pixel_llm::page::Row
#import pixel_llm::activations::quad_at
#import pixel_llm::block::{Block, share_block, spread_block}
#import pixel_llm::encoding::{prescale, dot_block, decode_block}

// A quad of a block of activations, which begin at `place` and are [columns, inputs / 4].
fn input_quad(m: MatrixParams, place: u32, column: u32, block: u32, i: u32) -> vec4<f32> {
    return quad_at(place + column * (m.columns >> 2u) + block * 8u + i);
}

#ifdef SPLIT
// Every lane is at a row of its own and reads the whole block, as the lanes beside it do.
fn input_block(m: MatrixParams, place: u32, column: u32, block: u32) -> array<vec4<f32>, 8> {
    let at = place + column * (m.columns >> 2u) + block * 8u;
    return array<vec4<f32>, 8>(quad_at(at), quad_at(at + 1u), quad_at(at + 2u), quad_at(at + 3u),
                               quad_at(at + 4u), quad_at(at + 5u), quad_at(at + 6u), quad_at(at + 7u));
}
#endif

#if COLUMNS == 1
struct Inputs {
    block: Block,
}

fn load_inputs(m: MatrixParams, place: u32, columns: vec4<u32>, block: u32, lane: u32) -> Inputs {
#ifdef SPLIT
    var v = input_block(m, place, columns.x, block);
    let low = (v[0] + v[1]) + (v[2] + v[3]);
    let high = (v[4] + v[5]) + (v[6] + v[7]);
    for (var i = 0u; i < 8u; i++) {
        v[i] *= prescale(i);
    }
    return Inputs(Block(v, (low.x + low.y) + (low.z + low.w), (high.x + high.y) + (high.z + high.w)));
#else
    return Inputs(share_block(input_quad(m, place, columns.x, block, lane), prescale(lane), lane));
#endif
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
#ifdef SPLIT
    return Inputs(input_block(m, place, columns.x, block), input_block(m, place, columns.y, block),
                  input_block(m, place, columns.z, block), input_block(m, place, columns.w, block));
#else
    return Inputs(spread_block(input_quad(m, place, columns.x, block, lane), lane),
                  spread_block(input_quad(m, place, columns.y, block, lane), lane),
                  spread_block(input_quad(m, place, columns.z, block, lane), lane),
                  spread_block(input_quad(m, place, columns.w, block, lane), lane));
#endif
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
