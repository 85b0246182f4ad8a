// Query heads over the keys and values of their sequence: HEADS heads that share a KV head, online
// softmax over eight positions at a time. For scores a lane is a position, for values some of the
// dimensions.
#define_import_path pixel_llm::phases::attend
#import pixel_llm::types::AttendParams
#import pixel_llm::lanes::{shuffle, lane_sum, lane_max, broadcast}
#import pixel_llm::activations::{places, quad_at, set_quad}
#import pixel_llm::layer_bindings::{head_scale, column_at}
#import pixel_llm::cache::{key_at, value_at, cache_rows}

const HEADS: u32 = #{HEADS}u;
const QUADS: u32 = #{HEAD_SIZE}u / 4u;
const QUADS_PER_LANE: u32 = (QUADS + 7u) / 8u;

// Eight quads of keys from `i` on; one past the head's end counts for nothing, since the query is
// zero there.
fn eight_keys(row: u32, quads: u32, head: u32, i: u32) -> array<vec4<f32>, 8> {
    let end = QUADS - 1u;
    return array<vec4<f32>, 8>(
        key_at(row, quads, head + min(i, end)), key_at(row, quads, head + min(i + 1u, end)),
        key_at(row, quads, head + min(i + 2u, end)), key_at(row, quads, head + min(i + 3u, end)),
        key_at(row, quads, head + min(i + 4u, end)), key_at(row, quads, head + min(i + 5u, end)),
        key_at(row, quads, head + min(i + 6u, end)), key_at(row, quads, head + min(i + 7u, end)));
}

// One quad of the values at eight positions from `row` on, up to `last`.
fn eight_values(row: u32, last: u32, quads: u32, i: u32) -> array<vec4<f32>, 8> {
    return array<vec4<f32>, 8>(
        value_at(row, quads, i), value_at(min(row + 1u, last), quads, i),
        value_at(min(row + 2u, last), quads, i), value_at(min(row + 3u, last), quads, i),
        value_at(min(row + 4u, last), quads, i), value_at(min(row + 5u, last), quads, i),
        value_at(min(row + 6u, last), quads, i), value_at(min(row + 7u, last), quads, i));
}

fn dot_keys(q: vec4<f32>, k: array<vec4<f32>, 8>, lane: u32) -> f32 {
    let t = ((broadcast(q, lane, 0u) * k[0] + broadcast(q, lane, 1u) * k[1])
            + (broadcast(q, lane, 2u) * k[2] + broadcast(q, lane, 3u) * k[3]))
        + ((broadcast(q, lane, 4u) * k[4] + broadcast(q, lane, 5u) * k[5])
            + (broadcast(q, lane, 6u) * k[6] + broadcast(q, lane, 7u) * k[7]));
    return (t.x + t.y) + (t.z + t.w);
}

fn weigh(w: f32, v: array<vec4<f32>, 8>, lane: u32) -> vec4<f32> {
    return ((v[0] * shuffle(w, lane, 0u) + v[1] * shuffle(w, lane, 1u))
            + (v[2] * shuffle(w, lane, 2u) + v[3] * shuffle(w, lane, 3u)))
        + ((v[4] * shuffle(w, lane, 4u) + v[5] * shuffle(w, lane, 5u))
            + (v[6] * shuffle(w, lane, 6u) + v[7] * shuffle(w, lane, 7u)));
}

// The unit is a group of HEADS query heads.
fn attend_heads(params: AttendParams, unit: u32, column: u32, lane: u32) {
    let head = unit * HEADS;
    let kv_quads = params.head_count / params.heads_per_kv * QUADS;
    let kv = head / params.heads_per_kv * QUADS;
    let spot = column_at(column);
    let last = spot.y;
    let q = (column * params.head_count + head) * QUADS;
    // What the cache does not hold.
    if spot.z + last >= cache_rows(kv_quads) || head + HEADS > params.head_count {
        return;
    }

    var asked: array<array<vec4<f32>, QUADS_PER_LANE>, HEADS>;
    var result: array<array<vec4<f32>, QUADS_PER_LANE>, HEADS>;
    var top: array<f32, HEADS>;
    var sum: array<f32, HEADS>;
    for (var h = 0u; h < HEADS; h++) {
        top[h] = -1e30;
        sum[h] = 0.0;
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            let quad = lane + 8u * j;
            let at = places.query + q + h * QUADS + min(quad, QUADS - 1u);
            let part = quad_at(at) * params.score_scale;
            asked[h][j] = select(vec4<f32>(), part, quad < QUADS);
            result[h][j] = vec4<f32>();
        }
    }
    for (var first = 0u; first <= last; first += 8u) {
        let key = spot.z + min(first + lane, last);
        var weight: array<f32, HEADS>;
        for (var h = 0u; h < HEADS; h++) {
            weight[h] = 0.0;
        }
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            let k = eight_keys(key, kv_quads, kv, 8u * j);
            for (var h = 0u; h < HEADS; h++) {
                weight[h] += dot_keys(asked[h][j], k, lane);
            }
        }
        for (var h = 0u; h < HEADS; h++) {
            let seen = select(-1e30, weight[h], first + lane <= last);
            let next = max(top[h], lane_max(seen, lane));
            let fade = exp(top[h] - next);
            weight[h] = select(0.0, exp(seen - next), first + lane <= last);
            top[h] = next;
            sum[h] = sum[h] * fade + weight[h];
            for (var j = 0u; j < QUADS_PER_LANE; j++) {
                result[h][j] *= fade;
            }
        }
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            let v = eight_values(
                spot.z + first, spot.z + last, kv_quads, kv + min(lane + 8u * j, QUADS - 1u),
            );
            for (var h = 0u; h < HEADS; h++) {
                result[h][j] += weigh(weight[h], v, lane);
            }
        }
    }
    for (var h = 0u; h < HEADS; h++) {
        let at = min(params.layer * params.head_count + head + h, arrayLength(&head_scale) - 1u);
        let factor = head_scale[at] / lane_sum(sum[h], lane);
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            let quad = lane + 8u * j;
            let place = q + h * QUADS + quad;
            if quad < QUADS {
                set_quad(places.attended + place, result[h][j] * factor);
            }
        }
    }
}
