// RoPE and the norms per head back: gradients of what was turned to those of the products. A
// workgroup per head and column.
#import pixel_llm::lanes::lane_sum
#import pixel_llm::activations::{quad_at, set_quad}
#import pixel_llm::training::heads::{HeadParams, cosines, sines}
#import pixel_llm::training::step::{
    bounded, is_there, column_count, column_at, vector_at, angle_at,
}

@group(0) @binding(4) var<uniform> params: HeadParams;

// Quad `i` of the gradient at `at`, turned by the angle the other way.
fn turned_back(at: u32, i: u32, angle: u32) -> vec4<f32> {
    let turned = bounded(params.turned);
    let v = quad_at(at + i);
    if i >= turned {
        return v;
    }
    if bounded(params.kind) == 0u {
        let a = angle_at(angle + i);
        return v * a.xxzz + v.yxwz * vec4<f32>(a.y, -a.y, a.w, -a.w);
    }
    let half = turned >> 1u;
    if i < half {
        return v * cosines(angle, i) + quad_at(at + half + i) * sines(angle, i);
    }
    return v * cosines(angle, i - half) - quad_at(at + i - half) * sines(angle, i - half);
}

@compute @workgroup_size(8)
fn rotate_back(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.y;
    if column >= column_count() {
        return;
    }
    let size = bounded(params.quads);
    let row = group.x * size;
    let is_key = row >= bounded(params.query_quads);
    let at = select(
        params.query_gradient + column * params.query_quads + row,
        params.key_gradient + column * params.key_quads + (row - params.query_quads),
        is_key,
    );
    let output = params.gradient + column * params.stride + row;
    let angle = column_at(column).y * params.turned;
    if !is_there(params.norm) {
        for (var i = lane; i < size; i += 8u) {
            set_quad(output + i, turned_back(at, i, angle));
        }
        return;
    }
    let input = params.projected + column * params.stride + row;
    let norm = params.norm + select(0u, size, is_key);
    var squares = 0.0;
    var sum = 0.0;
    for (var i = lane; i < size; i += 8u) {
        let v = quad_at(input + i);
        squares += dot(v, v);
        sum += dot(turned_back(at, i, angle) * vector_at(norm + i), v);
    }
    let width = f32(size * 4u);
    let rho = inverseSqrt(lane_sum(squares, lane) / width + params.epsilon);
    let share = lane_sum(sum, lane) * rho * rho / width;
    for (var i = lane; i < size; i += 8u) {
        let d = turned_back(at, i, angle) * vector_at(norm + i);
        set_quad(output + i, (d - quad_at(input + i) * share) * rho);
    }
}
