// What every kernel of training is bound to beside the pages and the activations.
#define_import_path pixel_llm::training::step

// Norms and biases of all layers.
@group(0) @binding(5) var<storage, read> vectors: array<vec4<f32>>;
// Cosine and sine of every pair, by position: two pairs per quad.
@group(0) @binding(6) var<storage, read> angles: array<vec4<f32>>;
// Of the pass: how many columns, how many of them are wanted, 1 where gradients begin anew, and
// the largest number. Then two quads for each column: its token, its position, and the first
// column of its sequence and the one behind the last; its target, what that counts as the bits of
// a float, its place among those that are wanted, and a spare word.
@group(0) @binding(7) var<storage, read> columns: array<vec4<u32>>;
// A loss per wanted column, sums of squares of the gradient of what is trained, and for every
// layer's entrance and the end of the residual stream the squares of its gradient by column.
@group(0) @binding(9) var<storage, read_write> results: array<f32>;
// The columns that have a target.
@group(0) @binding(10) var<storage, read> wanted: array<u32>;

// No place.
const NONE: u32 = 0xFFFFFFFFu;

fn column_count() -> u32 {
    return columns[0].x;
}

fn wanted_count() -> u32 {
    return min(columns[0].y, arrayLength(&wanted));
}

// The number itself. Lavapipe compiles a kernel anew where a condition hangs on uniforms alone.
fn bounded(n: u32) -> u32 {
    return min(n, columns[0].w);
}

// Whether there is something at a place.
fn is_there(place: u32) -> bool {
    return bounded(place) != NONE;
}

// Token, position, first column and end of the sequence.
fn column_at(column: u32) -> vec4<u32> {
    return columns[min(1u + 2u * column, arrayLength(&columns) - 1u)];
}

// Target, what it counts, its place among the wanted.
fn target_at(column: u32) -> vec4<u32> {
    return columns[min(2u + 2u * column, arrayLength(&columns) - 1u)];
}

fn wanted_at(i: u32) -> u32 {
    return wanted[min(i, arrayLength(&wanted) - 1u)];
}

fn vector_at(i: u32) -> vec4<f32> {
    return vectors[min(i, arrayLength(&vectors) - 1u)];
}

fn angle_at(i: u32) -> vec4<f32> {
    return angles[min(i, arrayLength(&angles) - 1u)];
}

fn add_to_result(i: u32, v: f32) {
    if i < arrayLength(&results) {
        results[i] += v;
    }
}

fn set_result(i: u32, v: f32) {
    if i < arrayLength(&results) {
        results[i] = v;
    }
}
