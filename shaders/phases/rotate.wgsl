// What follows the products of query, key and value for one head: bias, norm, RoPE. Keys and values go to the cache.
#define_import_path pixel_llm::phases::rotate
#import pixel_llm::types::QkvParams
#import pixel_llm::lanes::lane_sum
#import pixel_llm::activations::{places, number_at, set_number}
#import pixel_llm::layer_bindings::{vectors, angles, keys, values, column_at}

struct Place {
    // 0 query, 1 key, 2 value
    part: u32,
    first: u32,
}

fn vector_at(i: u32) -> f32 {
    return vectors[min(i, arrayLength(&vectors) - 1u)];
}

fn biased(params: QkvParams, at: u32, i: u32) -> f32 {
    return number_at(places.projected, at) + select(0.0, vector_at(i), params.has_biases != 0u);
}

fn store(place: Place, i: u32, v: f32) {
    let at = place.first + i;
    if place.part == 0u {
        set_number(places.query, at, v);
    } else if place.part == 1u && (at >> 2u) < arrayLength(&keys) {
        keys[at >> 2u][at & 3u] = v;
    } else if place.part == 2u && (at >> 2u) < arrayLength(&values) {
        values[at >> 2u][at & 3u] = v;
    }
}

// `head` counts query heads, then keys, then values.
fn rotate_head(params: QkvParams, head: u32, column: u32, lane: u32) {
    let size = params.head_size;
    let query_size = params.query.rows;
    let kv_size = params.key.rows;
    let row = head * size;
    let at = column * (query_size + 2u * kv_size) + row;
    let spot = column_at(column);
    let cache = (spot.z + spot.y) * kv_size;
    var place = Place(0u, column * query_size + row);
    if row >= query_size + kv_size {
        place = Place(2u, cache + row - query_size - kv_size);
    } else if row >= query_size {
        place = Place(1u, cache + row - query_size);
    }
    if place.part == 2u {
        for (var i = lane; i < size; i += 8u) {
            store(place, i, biased(params, at + i, row + i));
        }
        return;
    }

    var scale = 1.0;
    if params.has_head_norms != 0u {
        var squares = 0.0;
        for (var i = lane; i < size; i += 8u) {
            let v = biased(params, at + i, row + i);
            squares += v * v;
        }
        scale = inverseSqrt(lane_sum(squares, lane) / f32(size) + params.norm_epsilon);
    }
    let norm = query_size + 2u * kv_size + place.part * size;
    let pairs = params.rope.size / 2u;
    for (var i = lane; i < size - pairs; i += 8u) {
        // A pair of turned dimensions, or one dimension past them.
        let turned = i < pairs;
        let is_pairs = params.rope.kind == 0u;
        let a = select(i + pairs, select(i, 2u * i, is_pairs), turned);
        let b = select(a, select(i + pairs, 2u * i + 1u, is_pairs), turned);
        var p = biased(params, at + a, row + a) * scale;
        var q = biased(params, at + b, row + b) * scale;
        if params.has_head_norms != 0u {
            p *= vector_at(norm + a);
            q *= vector_at(norm + b);
        }
        if turned {
            let angle = angles[min(spot.y * pairs + i, arrayLength(&angles) - 1u)];
            store(place, a, p * angle.x - q * angle.y);
            store(place, b, p * angle.y + q * angle.x);
        } else {
            store(place, a, p);
        }
    }
}
