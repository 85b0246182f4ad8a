// Attention back to keys and values: a workgroup per KV head and KEYS columns, over all later
// columns of their sequences. Needs what `attend_back_query` leaves of the same columns.
#import pixel_llm::activations::{quad_at, set_quad}
#import pixel_llm::training::step::{bounded, column_count, column_at}
#import pixel_llm::training::attention::{
    AttentionParams, Rows, QUADS, QUADS_PER_LANE, across, down, dot_rows, weigh, held,
}

@group(0) @binding(4) var<uniform> params: AttentionParams;

// Keys that share what is read of later columns.
const KEYS: u32 = 4u;

@compute @workgroup_size(8)
fn attend_back_key(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = group.y * KEYS;
    let count = column_count();
    if start >= count {
        return;
    }
    let heads = params.head_count;
    let key = params.key + group.x * QUADS;
    let key_stride = heads / params.heads_per_kv * QUADS;
    let value = params.value + group.x * QUADS;
    var k: array<array<vec4<f32>, QUADS_PER_LANE>, KEYS>;
    var v: array<array<vec4<f32>, QUADS_PER_LANE>, KEYS>;
    var key_sum: array<array<vec4<f32>, QUADS_PER_LANE>, KEYS>;
    var value_sum: array<array<vec4<f32>, QUADS_PER_LANE>, KEYS>;
    for (var i = 0u; i < KEYS; i++) {
        let row = min(start + i, count - 1u);
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            k[i][j] = held(key + row * key_stride, j, lane) * params.score_scale;
            v[i][j] = held(value + row * params.value_stride, j, lane);
            key_sum[i][j] = vec4<f32>();
            value_sum[i][j] = vec4<f32>();
        }
    }
    // The keys may be of several sequences, of which each ends before the next one begins.
    let end = min(column_at(min(start + KEYS, count) - 1u).w, count);
    let share = bounded(params.heads_per_kv);
    for (var h = 0u; h < share; h++) {
        let head = group.x * params.heads_per_kv + h;
        let queries = Rows(params.query + head * QUADS, heads * QUADS);
        let given = Rows(params.gradient + head * QUADS, heads * QUADS);
        for (var first = start; first < end; first += 8u) {
            let row = min(first + lane, end - 1u);
            var score: array<f32, KEYS>;
            var slope: array<f32, KEYS>;
            for (var i = 0u; i < KEYS; i++) {
                score[i] = 0.0;
                slope[i] = 0.0;
            }
            for (var j = 0u; j < QUADS_PER_LANE; j++) {
                let q = across(queries, row, 8u * j);
                for (var i = 0u; i < KEYS; i++) {
                    score[i] += dot_rows(k[i][j], q, lane);
                }
                let d = across(given, row, 8u * j);
                for (var i = 0u; i < KEYS; i++) {
                    slope[i] += dot_rows(v[i][j], d, lane);
                }
            }
            let lse = quad_at(params.lse + row * heads + head).x;
            let delta = quad_at(params.delta + row * heads + head).x;
            // A column sees what is of its sequence and not behind it.
            let begin = column_at(row).z;
            for (var i = 0u; i < KEYS; i++) {
                let seen = begin <= start + i && start + i <= row && first + lane < end;
                score[i] = select(0.0, exp(score[i] - lse), seen);
                slope[i] = score[i] * (slope[i] - delta);
            }
            for (var j = 0u; j < QUADS_PER_LANE; j++) {
                let quad = min(lane + 8u * j, QUADS - 1u);
                let q = down(queries, first, end - 1u, quad);
                for (var i = 0u; i < KEYS; i++) {
                    key_sum[i][j] += weigh(slope[i], q, lane);
                }
                let d = down(given, first, end - 1u, quad);
                for (var i = 0u; i < KEYS; i++) {
                    value_sum[i][j] += weigh(score[i], d, lane);
                }
            }
        }
    }
    for (var i = 0u; i < KEYS; i++) {
        let row = start + i;
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            let quad = lane + 8u * j;
            if quad < QUADS && row < count {
                set_quad(
                    params.key_gradient + row * key_stride + group.x * QUADS + quad,
                    key_sum[i][j] * params.score_scale,
                );
                set_quad(
                    params.value_gradient + row * params.value_stride + group.x * QUADS + quad,
                    value_sum[i][j],
                );
            }
        }
    }
}
