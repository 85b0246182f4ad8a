// What follows the products of query, key and value for one head: bias, norm, RoPE. Keys and values
// go to the cache.
#define_import_path pixel_llm::phases::rope
#import pixel_llm::types::QkvParams
#import pixel_llm::lanes::lane_sum
#import pixel_llm::activations::{places, quad_at, set_quad}
#import pixel_llm::layer_bindings::{vector_at, angles, column_at}
#import pixel_llm::cache::{set_key, set_value}

struct Place {
    // 0 query, 1 key, 2 value
    part: u32,
    // The first quad of the query, or the row of the cache.
    row: u32,
    // Quads of a row of the cache, and the first of the head in it.
    quads: u32,
    first: u32,
}

// Whether a flag is set: see `tiles_across` for why it is not the flag alone.
fn has(flag: u32) -> bool {
    return min(flag, arrayLength(&angles)) != 0u;
}

// Two pairs' cosines and sines.
fn angle_at(i: u32) -> vec4<f32> {
    return angles[min(i, arrayLength(&angles) - 1u)];
}

// A quad of the head with its bias: `at` in the activations, `i` among the biases.
fn biased(params: QkvParams, at: u32, i: u32) -> vec4<f32> {
    var v = quad_at(places.projected + at);
    if has(params.has_biases) {
        v += vector_at(i);
    }
    return v;
}

// The same times the norm's factor and, at `norm`, its weight.
fn normed(params: QkvParams, at: u32, i: u32, scale: f32, norm: u32) -> vec4<f32> {
    var v = biased(params, at, i);
    if has(params.has_head_norms) {
        v = v * scale * vector_at(norm);
    }
    return v;
}

fn store(place: Place, i: u32, v: vec4<f32>) {
    if place.part == 0u {
        set_quad(places.query + place.row + i, v);
    } else if place.part == 1u {
        set_key(place.row, place.quads, place.first + i, v);
    } else {
        set_value(place.row, place.quads, place.first + i, v);
    }
}

// `head` counts query heads, then keys, then values.
fn rotate_head(params: QkvParams, head: u32, column: u32, lane: u32) {
    let size = params.head_size >> 2u;
    let query_size = params.query.rows >> 2u;
    let kv_size = params.key.rows >> 2u;
    let row = head * size;
    let at = column * (query_size + 2u * kv_size) + row;
    let spot = column_at(column);
    var place = Place(0u, column * query_size + row, kv_size, 0u);
    if row >= query_size + kv_size {
        let value = Place(2u, spot.z + spot.y, kv_size, row - query_size - kv_size);
        for (var i = lane; i < size; i += 8u) {
            store(value, i, biased(params, at + i, row + i));
        }
        return;
    }
    if row >= query_size {
        place = Place(1u, spot.z + spot.y, kv_size, row - query_size);
    }

    var scale = 1.0;
    if has(params.has_head_norms) {
        var squares = 0.0;
        for (var i = lane; i < size; i += 8u) {
            let v = biased(params, at + i, row + i);
            squares += dot(v, v);
        }
        scale = inverseSqrt(lane_sum(squares, lane) / f32(params.head_size) + params.norm_epsilon);
    }
    let norm = query_size + 2u * kv_size + place.part * size;
    // Quads that are turned; the angles of one quad of neighbouring pairs are one quad.
    let turned = params.rope.size >> 2u;
    let angle = spot.y * turned;
    if !has(params.rope.kind) {
        for (var i = lane; i < turned; i += 8u) {
            let v = normed(params, at + i, row + i, scale, norm + i);
            let a = angle_at(angle + i);
            store(place, i, v.xxzz * a + v.yyww * vec4<f32>(-a.y, a.x, -a.w, a.z));
        }
    } else {
        let half = turned >> 1u;
        for (var i = lane; i < half; i += 8u) {
            let p = normed(params, at + i, row + i, scale, norm + i);
            let q = normed(params, at + half + i, row + half + i, scale, norm + half + i);
            let a = angle_at(angle + 2u * i);
            let b = angle_at(angle + 2u * i + 1u);
            let cosines = vec4<f32>(a.x, a.z, b.x, b.z);
            let sines = vec4<f32>(a.y, a.w, b.y, b.w);
            store(place, i, p * cosines - q * sines);
            store(place, half + i, p * sines + q * cosines);
        }
    }
    for (var i = turned + lane; i < size; i += 8u) {
        store(place, i, normed(params, at + i, row + i, scale, norm + i));
    }
}
