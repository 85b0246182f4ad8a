// Self-attention within the sequences of the pass: a workgroup per column and HEADS query heads
// that share a KV head. The logarithm of the sum of weights is kept for the way back.
#import pixel_llm::lanes::{lane_sum, lane_max}
#import pixel_llm::activations::{quad_at, set_quad}
#import pixel_llm::training::step::{column_count, column_at}
#import pixel_llm::training::attention::{
    AttentionParams, Rows, QUADS, QUADS_PER_LANE, across, down, dot_rows, weigh, held,
}

@group(0) @binding(4) var<uniform> params: AttentionParams;

const HEADS: u32 = #{HEADS}u;

@compute @workgroup_size(8)
fn attend(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x * HEADS;
    let column = group.y;
    if column >= column_count() {
        return;
    }
    let kv = head / params.heads_per_kv * QUADS;
    let keys = Rows(params.key + kv, params.head_count / params.heads_per_kv * QUADS);
    let values = Rows(params.value + kv, params.value_stride);
    let at = (column * params.head_count + head) * QUADS;
    var asked: array<array<vec4<f32>, QUADS_PER_LANE>, HEADS>;
    var result: array<array<vec4<f32>, QUADS_PER_LANE>, HEADS>;
    var top: array<f32, HEADS>;
    var sum: array<f32, HEADS>;
    for (var h = 0u; h < HEADS; h++) {
        top[h] = -1e30;
        sum[h] = 0.0;
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            asked[h][j] = held(params.query + at + h * QUADS, j, lane) * params.score_scale;
            result[h][j] = vec4<f32>();
        }
    }
    for (var first = column_at(column).z; first <= column; first += 8u) {
        let key = min(first + lane, column);
        var weight: array<f32, HEADS>;
        for (var h = 0u; h < HEADS; h++) {
            weight[h] = 0.0;
        }
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            let k = across(keys, key, 8u * j);
            for (var h = 0u; h < HEADS; h++) {
                weight[h] += dot_rows(asked[h][j], k, lane);
            }
        }
        for (var h = 0u; h < HEADS; h++) {
            let seen = select(-1e30, weight[h], first + lane <= column);
            let next = max(top[h], lane_max(seen, lane));
            let fade = exp(top[h] - next);
            weight[h] = select(0.0, exp(seen - next), first + lane <= column);
            top[h] = next;
            sum[h] = sum[h] * fade + weight[h];
            for (var j = 0u; j < QUADS_PER_LANE; j++) {
                result[h][j] *= fade;
            }
        }
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            let v = down(values, first, column, min(lane + 8u * j, QUADS - 1u));
            for (var h = 0u; h < HEADS; h++) {
                result[h][j] += weigh(weight[h], v, lane);
            }
        }
    }
    for (var h = 0u; h < HEADS; h++) {
        let all = lane_sum(sum[h], lane);
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            let quad = lane + 8u * j;
            if quad < QUADS {
                set_quad(params.attended + at + h * QUADS + quad, result[h][j] / all);
            }
        }
        if lane == 0u {
            let lse = top[h] + log(all);
            set_quad(params.lse + column * params.head_count + head + h, vec4<f32>(lse));
        }
    }
}
