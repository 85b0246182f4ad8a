// Norms per head and RoPE of query and key: a workgroup per head and column.
#import pixel_llm::lanes::lane_sum
#import pixel_llm::activations::{quad_at, set_quad}
#import pixel_llm::training::heads::{HeadParams, cosines, sines}
#import pixel_llm::training::step::{
    bounded, is_there, column_count, column_at, vector_at, angle_at,
}

@group(0) @binding(4) var<uniform> params: HeadParams;

// The normed quad `i` of the head at `at`.
fn normed(at: u32, i: u32, scale: f32, norm: u32) -> vec4<f32> {
    let v = quad_at(at + i);
    if is_there(params.norm) {
        return v * scale * vector_at(norm + i);
    }
    return v;
}

@compute @workgroup_size(8)
fn rotate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.y;
    if column >= column_count() {
        return;
    }
    let size = bounded(params.quads);
    let row = group.x * size;
    let at = params.projected + column * params.stride + row;
    let is_key = row >= bounded(params.query_quads);
    let output = select(
        params.query + column * params.query_quads + row,
        params.key + column * params.key_quads + (row - params.query_quads),
        is_key,
    );
    var scale = 1.0;
    if is_there(params.norm) {
        var squares = 0.0;
        for (var i = lane; i < size; i += 8u) {
            let v = quad_at(at + i);
            squares += dot(v, v);
        }
        scale = inverseSqrt(lane_sum(squares, lane) / f32(size * 4u) + params.epsilon);
    }
    let norm = params.norm + select(0u, size, is_key);
    let turned = bounded(params.turned);
    let angle = column_at(column).y * turned;
    if bounded(params.kind) == 0u {
        for (var i = lane; i < turned; i += 8u) {
            let v = normed(at, i, scale, norm);
            let a = angle_at(angle + i);
            set_quad(output + i, v.xxzz * a + v.yyww * vec4<f32>(-a.y, a.x, -a.w, a.z));
        }
    } else {
        let half = turned >> 1u;
        for (var i = lane; i < half; i += 8u) {
            let p = normed(at, i, scale, norm);
            let q = normed(at, half + i, scale, norm);
            let c = cosines(angle, i);
            let s = sines(angle, i);
            set_quad(output + i, p * c - q * s);
            set_quad(output + half + i, p * s + q * c);
        }
    }
    for (var i = turned + lane; i < size; i += 8u) {
        set_quad(output + i, normed(at, i, scale, norm));
    }
}
