// Attention back to its queries: a workgroup per column and HEADS query heads that share a KV head.
// Weights are made again from the kept logarithm of their sum (Dao 2023, section 2.3,
// https://arxiv.org/abs/2307.08691).
#import pixel_llm::lanes::lane_sum
#import pixel_llm::activations::{quad_at, set_quad}
#import pixel_llm::training::step::{column_count, column_at}
#import pixel_llm::training::attention::{
    AttentionParams, Rows, QUADS, QUADS_PER_LANE, across, down, dot_rows, weigh, held,
}

@group(0) @binding(4) var<uniform> params: AttentionParams;

const HEADS: u32 = #{HEADS}u;

@compute @workgroup_size(8)
fn attend_back_query(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = group.x * HEADS;
    let column = group.y;
    if column >= column_count() {
        return;
    }
    let kv = head / params.heads_per_kv * QUADS;
    let keys = Rows(params.key + kv, params.head_count / params.heads_per_kv * QUADS);
    let values = Rows(params.value + kv, params.value_stride);
    let at = (column * params.head_count + head) * QUADS;
    let spot = column * params.head_count + head;
    var asked: array<array<vec4<f32>, QUADS_PER_LANE>, HEADS>;
    var given: array<array<vec4<f32>, QUADS_PER_LANE>, HEADS>;
    var result: array<array<vec4<f32>, QUADS_PER_LANE>, HEADS>;
    var delta: array<f32, HEADS>;
    var lse: array<f32, HEADS>;
    for (var h = 0u; h < HEADS; h++) {
        var sum = 0.0;
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            asked[h][j] = held(params.query + at + h * QUADS, j, lane) * params.score_scale;
            given[h][j] = held(params.gradient + at + h * QUADS, j, lane);
            result[h][j] = vec4<f32>();
            sum += dot(given[h][j], held(params.attended + at + h * QUADS, j, lane));
        }
        delta[h] = lane_sum(sum, lane);
        lse[h] = quad_at(params.lse + spot + h).x;
        if lane == 0u {
            set_quad(params.delta + spot + h, vec4<f32>(delta[h]));
        }
    }
    for (var first = column_at(column).z; first <= column; first += 8u) {
        let row = min(first + lane, column);
        var score: array<f32, HEADS>;
        var slope: array<f32, HEADS>;
        for (var h = 0u; h < HEADS; h++) {
            score[h] = 0.0;
            slope[h] = 0.0;
        }
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            let k = across(keys, row, 8u * j);
            let v = across(values, row, 8u * j);
            for (var h = 0u; h < HEADS; h++) {
                score[h] += dot_rows(asked[h][j], k, lane);
                slope[h] += dot_rows(given[h][j], v, lane);
            }
        }
        for (var h = 0u; h < HEADS; h++) {
            let p = select(0.0, exp(score[h] - lse[h]), first + lane <= column);
            slope[h] = p * (slope[h] - delta[h]);
        }
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            let k = down(keys, first, column, min(lane + 8u * j, QUADS - 1u));
            for (var h = 0u; h < HEADS; h++) {
                result[h][j] += weigh(slope[h], k, lane);
            }
        }
    }
    for (var h = 0u; h < HEADS; h++) {
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            let quad = lane + 8u * j;
            if quad < QUADS {
                set_quad(
                    params.query_gradient + at + h * QUADS + quad,
                    result[h][j] * params.score_scale,
                );
            }
        }
    }
}
