// Where attention finds queries, keys, values and their gradients, and products of rows of them:
// for scores a lane is a row, for sums over rows some of the dimensions.
#define_import_path pixel_llm::training::attention
#import pixel_llm::lanes::{shuffle, broadcast}
#import pixel_llm::activations::quad_at

const QUADS: u32 = #{HEAD_SIZE}u / 4u;
const QUADS_PER_LANE: u32 = (QUADS + 7u) / 8u;

struct AttentionParams {
    // [columns, heads, head], [columns, KV heads, head], and values behind both in the products.
    query: u32,
    key: u32,
    value: u32,
    value_stride: u32,
    // [columns, heads, head] and its gradient.
    attended: u32,
    gradient: u32,
    // A quad per column and head: the logarithm of the sum of its weights, and the product of
    // output and gradient.
    lse: u32,
    delta: u32,
    query_gradient: u32,
    key_gradient: u32,
    // Values' gradients, among those of the products.
    value_gradient: u32,
    head_count: u32,
    heads_per_kv: u32,
    // One over the root of the head's size.
    score_scale: f32,
    padding_a: u32,
    padding_b: u32,
}

// Rows of something: its first quad, from one row to the next, and the first quad of the head.
struct Rows {
    place: u32,
    stride: u32,
}

// Eight quads of a row from `i` on; one past the head's end counts for nothing, since what it is
// multiplied with is zero there.
fn across(rows: Rows, row: u32, i: u32) -> array<vec4<f32>, 8> {
    let at = rows.place + row * rows.stride;
    let end = QUADS - 1u;
    return array<vec4<f32>, 8>(
        quad_at(at + min(i, end)), quad_at(at + min(i + 1u, end)),
        quad_at(at + min(i + 2u, end)), quad_at(at + min(i + 3u, end)),
        quad_at(at + min(i + 4u, end)), quad_at(at + min(i + 5u, end)),
        quad_at(at + min(i + 6u, end)), quad_at(at + min(i + 7u, end)));
}

// One quad of eight rows from `row` on, up to `last`.
fn down(rows: Rows, row: u32, last: u32, i: u32) -> array<vec4<f32>, 8> {
    let at = rows.place + i;
    let s = rows.stride;
    return array<vec4<f32>, 8>(
        quad_at(at + row * s), quad_at(at + min(row + 1u, last) * s),
        quad_at(at + min(row + 2u, last) * s), quad_at(at + min(row + 3u, last) * s),
        quad_at(at + min(row + 4u, last) * s), quad_at(at + min(row + 5u, last) * s),
        quad_at(at + min(row + 6u, last) * s), quad_at(at + min(row + 7u, last) * s));
}

// What eight lanes hold of a row times a row of each lane.
fn dot_rows(q: vec4<f32>, k: array<vec4<f32>, 8>, lane: u32) -> f32 {
    let t = ((broadcast(q, lane, 0u) * k[0] + broadcast(q, lane, 1u) * k[1])
            + (broadcast(q, lane, 2u) * k[2] + broadcast(q, lane, 3u) * k[3]))
        + ((broadcast(q, lane, 4u) * k[4] + broadcast(q, lane, 5u) * k[5])
            + (broadcast(q, lane, 6u) * k[6] + broadcast(q, lane, 7u) * k[7]));
    return (t.x + t.y) + (t.z + t.w);
}

// The sum of eight rows, each times the number of its lane.
fn weigh(w: f32, v: array<vec4<f32>, 8>, lane: u32) -> vec4<f32> {
    return ((v[0] * shuffle(w, lane, 0u) + v[1] * shuffle(w, lane, 1u))
            + (v[2] * shuffle(w, lane, 2u) + v[3] * shuffle(w, lane, 3u)))
        + ((v[4] * shuffle(w, lane, 4u) + v[5] * shuffle(w, lane, 5u))
            + (v[6] * shuffle(w, lane, 6u) + v[7] * shuffle(w, lane, 7u)));
}

// Quad `lane + 8 j` of a row, zero past its end.
fn held(place: u32, j: u32, lane: u32) -> vec4<f32> {
    let quad = lane + 8u * j;
    return select(vec4<f32>(), quad_at(place + min(quad, QUADS - 1u)), quad < QUADS);
}
