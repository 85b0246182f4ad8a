// Every query head over the keys and values of its sequence: one workgroup per head and column, online softmax over eight
// positions at a time. For scores a lane is a position, for values it is some of the head's dimensions.
#import pixel_llm::types::AttendParams
#import pixel_llm::lanes::{lane_sum, lane_max}

const QUADS: u32 = #{HEAD_SIZE}u / 4u;
const QUADS_PER_LANE: u32 = (QUADS + 7u) / 8u;

@group(0) @binding(0) var<uniform> params: AttendParams;
@group(0) @binding(1) var<storage, read> columns: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> query: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> values: array<vec4<f32>>;
// A factor per layer and head.
@group(0) @binding(5) var<storage, read> head_scale: array<f32>;
@group(0) @binding(6) var<storage, read_write> attended: array<vec4<f32>>;

@compute @workgroup_size(8)
fn attend(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let head = group.x;
    let column = group.y;
    if column >= params.columns || column >= arrayLength(&columns) || head >= params.head_count {
        return;
    }
    let kv_quads = params.head_count / params.heads_per_kv * QUADS;
    let kv = head / params.heads_per_kv * QUADS;
    let spot = columns[column];
    let last = spot.y;
    let q = (column * params.head_count + head) * QUADS;
    // The first row of the cache that is not there.
    if (spot.z + last + 1u) * kv_quads > arrayLength(&keys) || q + QUADS > arrayLength(&query) {
        return;
    }

    var top = -1e30;
    var sum = 0.0;
    var result: array<vec4<f32>, QUADS_PER_LANE>;
    for (var first = 0u; first <= last; first += 8u) {
        let key = (spot.z + min(first + lane, last)) * kv_quads + kv;
        var products = vec4<f32>();
        for (var i = 0u; i < QUADS; i++) {
            products += query[q + i] * keys[key + i];
        }
        let score = ((products.x + products.y) + (products.z + products.w)) * params.score_scale;
        let seen = select(-1e30, score, first + lane <= last);
        let next = max(top, lane_max(seen, lane));
        let fade = exp(top - next);
        let weight = select(0.0, exp(seen - next), first + lane <= last);
        top = next;
        sum = sum * fade + weight;
        for (var j = 0u; j < QUADS_PER_LANE; j++) {
            result[j] *= fade;
        }
        for (var i = 0u; i < 8u; i++) {
            let w = subgroupShuffle(weight, i);
            let value = (spot.z + min(first + i, last)) * kv_quads + kv;
            for (var j = 0u; j < QUADS_PER_LANE; j++) {
                result[j] += w * values[value + min(lane + 8u * j, QUADS - 1u)];
            }
        }
    }
    let at = min(params.layer * params.head_count + head, arrayLength(&head_scale) - 1u);
    let factor = head_scale[at] / lane_sum(sum, lane);
    for (var j = 0u; j < QUADS_PER_LANE; j++) {
        let quad = lane + 8u * j;
        if quad < QUADS && q + quad < arrayLength(&attended) {
            attended[q + quad] = result[j] * factor;
        }
    }
}
