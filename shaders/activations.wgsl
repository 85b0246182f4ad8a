// All activations of a step, in one buffer: kernels that do one thing after another can then do them in one dispatch.
#define_import_path pixel_llm::activations
#import pixel_llm::lanes::lane_sum

// Where the activations begin in their buffer, in quads of four numbers.
struct Places {
    // [columns, width]
    residual: u32,
    // The residual times the weight of the next norm, [columns, width].
    scaled: u32,
    // Query, key and value side by side, [columns, query + key + value].
    projected: u32,
    // [columns, query]
    query: u32,
    // What the heads give, [columns, query].
    attended: u32,
    // silu(gate) * up, [columns, hidden].
    hidden: u32,
    // Sums of squares of the residual, one per 32 numbers: [columns, ceil(width / 32)].
    squares: u32,
    // Workgroups that meet in the kernel of a whole layer.
    crew: u32,
}

@group(0) @binding(2) var<storage, read_write> activations: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> places: Places;

fn quad_at(i: u32) -> vec4<f32> {
    return activations[min(i, arrayLength(&activations) - 1u)];
}

fn number_at(place: u32, i: u32) -> f32 {
    return activations[min(place + (i >> 2u), arrayLength(&activations) - 1u)][i & 3u];
}

fn set_quad(i: u32, v: vec4<f32>) {
    if i < arrayLength(&activations) {
        activations[i] = v;
    }
}

fn set_number(place: u32, i: u32, v: f32) {
    if place + (i >> 2u) < arrayLength(&activations) {
        activations[place + (i >> 2u)][i & 3u] = v;
    }
}

// The norm of the residual stream is folded into the products after it: what wrote the residual left it multiplied with
// the norm's weight, and a sum of squares per 32 numbers. This factor is applied to the product.
fn inverse_rms(column: u32, width: u32, epsilon: f32, lane: u32) -> f32 {
    let groups = (width + 31u) / 32u;
    var sum = 0.0;
    for (var i = lane; i < groups; i += 8u) {
        sum += number_at(places.squares, column * groups + i);
    }
    return inverseSqrt(lane_sum(sum, lane) / f32(width) + epsilon);
}

// Four columns from `first` on; those past `count` repeat the last one.
fn four_columns(first: u32, count: u32) -> vec4<u32> {
    return min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(count - 1u));
}
