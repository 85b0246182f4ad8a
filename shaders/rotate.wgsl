// What follows the products of query, key and value: biases, norms per head, RoPE; keys and values go to the cache.
// One workgroup per head and column.
#import pixel_llm::types::QkvParams
#import pixel_llm::lanes::lane_sum

@group(0) @binding(0) var<uniform> params: QkvParams;
@group(0) @binding(1) var<storage, read> columns: array<vec4<u32>>;
// Cosine and sine of every pair, by position.
@group(0) @binding(2) var<storage, read> angles: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> projected: array<f32>;
// Biases of query, key and value, then the norm of a head's query and that of its key.
@group(0) @binding(4) var<storage, read> vectors: array<f32>;
@group(0) @binding(5) var<storage, read_write> query: array<f32>;
// [sequences, positions, KV heads, head]
@group(0) @binding(6) var<storage, read_write> keys: array<f32>;
@group(0) @binding(7) var<storage, read_write> values: array<f32>;

fn biased(at: u32, i: u32) -> f32 {
    let v = projected[min(at, arrayLength(&projected) - 1u)];
    return v + select(0.0, vectors[min(i, arrayLength(&vectors) - 1u)], params.has_biases != 0u);
}

struct Place {
    // 0 query, 1 key, 2 value
    part: u32,
    first: u32,
}

fn store(place: Place, i: u32, v: f32) {
    let at = place.first + i;
    if place.part == 0u && at < arrayLength(&query) {
        query[at] = v;
    } else if place.part == 1u && at < arrayLength(&keys) {
        keys[at] = v;
    } else if place.part == 2u && at < arrayLength(&values) {
        values[at] = v;
    }
}

@compute @workgroup_size(8)
fn rotate(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let column = group.y;
    if column >= params.columns || column >= arrayLength(&columns) {
        return;
    }
    let size = params.head_size;
    let query_size = params.query.rows;
    let kv_size = params.key.rows;
    let row = group.x * size;
    let at = column * (query_size + 2u * kv_size) + row;
    let spot = columns[column];
    let cache = (spot.z + spot.y) * kv_size;
    var place = Place(0u, column * query_size + row);
    if row >= query_size + kv_size {
        place = Place(2u, cache + row - query_size - kv_size);
    } else if row >= query_size {
        place = Place(1u, cache + row - query_size);
    }
    if place.part == 2u {
        for (var i = lane; i < size; i += 8u) {
            store(place, i, biased(at + i, row + i));
        }
        return;
    }

    var squares = 0.0;
    for (var i = lane; i < size; i += 8u) {
        let v = biased(at + i, row + i);
        squares += v * v;
    }
    let normed = params.has_head_norms != 0u;
    let scale = select(1.0, inverseSqrt(lane_sum(squares, lane) / f32(size) + params.norm_epsilon), normed);
    let norm = query_size + 2u * kv_size + place.part * size;
    let pairs = params.rope.size / 2u;
    for (var i = lane; i < size - pairs; i += 8u) {
        // A pair of turned dimensions, or one dimension past them.
        let turned = i < pairs;
        let is_pairs = params.rope.kind == 0u;
        let a = select(i + pairs, select(i, 2u * i, is_pairs), turned);
        let b = select(a, select(i + pairs, 2u * i + 1u, is_pairs), turned);
        let last = arrayLength(&vectors) - 1u;
        let p = biased(at + a, row + a) * scale * select(1.0, vectors[min(norm + a, last)], normed);
        let q = biased(at + b, row + b) * scale * select(1.0, vectors[min(norm + b, last)], normed);
        let angle = angles[min(spot.y * pairs + i, arrayLength(&angles) - 1u)];
        if turned {
            store(place, a, p * angle.x - q * angle.y);
            store(place, b, p * angle.y + q * angle.x);
        } else {
            store(place, a, p);
        }
    }
}
