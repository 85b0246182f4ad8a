// All activations of a step, in one place: kernels that do one thing after another can then do them
// in one dispatch. They are quads of four numbers, in a buffer or in a texture: a software adapter
// reads a texture for all lanes at once, and a buffer lane by lane.
#define_import_path pixel_llm::activations
#import pixel_llm::lanes::lane_sum

// Where the activations begin, in quads.
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
    // Sums of squares of the residual, one per 32 numbers and quad: [columns, ceil(width / 32)].
    squares: u32,
    // Persistent workgroups of the kernel of a whole layer.
    workgroups: u32,
}

@group(0) @binding(3) var<uniform> places: Places;

#ifdef TEXTURES
@group(0) @binding(2) var activations: texture_storage_2d<rgba32float, read_write>;

// Rows of 1024 quads.
fn place_of(i: u32) -> vec2<u32> {
    return vec2<u32>(i & 1023u, i >> 10u);
}

fn quad_at(i: u32) -> vec4<f32> {
    return textureLoad(activations, place_of(i));
}

fn set_quad(i: u32, v: vec4<f32>) {
    textureStore(activations, place_of(i), v);
}
#else
@group(0) @binding(2) var<storage, read_write> activations: array<vec4<f32>>;

fn quad_at(i: u32) -> vec4<f32> {
    return activations[min(i, arrayLength(&activations) - 1u)];
}

fn set_quad(i: u32, v: vec4<f32>) {
    if i < arrayLength(&activations) {
        activations[i] = v;
    }
}
#endif

// The norm of the residual stream is folded into the products after it: what wrote the residual
// left it multiplied with the norm's weight, and a sum of squares per 32 numbers. This factor is
// applied to the product.
fn inverse_rms(column: u32, width: u32, epsilon: f32, lane: u32) -> f32 {
    let groups = (width + 31u) / 32u;
    var sum = 0.0;
    for (var i = lane; i < groups; i += 8u) {
        sum += quad_at(places.squares + column * groups + i).x;
    }
    return inverseSqrt(lane_sum(sum, lane) / f32(width) + epsilon);
}
