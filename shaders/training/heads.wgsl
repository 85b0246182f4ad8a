// How the heads of a layer lie among the activations, for what turns them and for what turns them
// back.
#define_import_path pixel_llm::training::heads
#import pixel_llm::training::step::{bounded, angle_at}

struct HeadParams {
    // Products [columns, stride], queries before keys, and where each lies once it is turned.
    projected: u32,
    stride: u32,
    query: u32,
    key: u32,
    // Quads of all queries of a column, of all keys, of one head, and those of it that turn.
    query_quads: u32,
    key_quads: u32,
    quads: u32,
    turned: u32,
    // 0 neighbouring pairs, 1 halves.
    kind: u32,
    // Weights of the query's norm among the vectors, or none; those of the key's come next.
    norm: u32,
    epsilon: f32,
    // Gradients of the products, [columns, stride], and of what was turned.
    gradient: u32,
    query_gradient: u32,
    key_gradient: u32,
    padding_a: u32,
    padding_b: u32,
}

// Quad `i` of halves: the cosines and sines of its four pairs.
fn cosines(angle: u32, i: u32) -> vec4<f32> {
    let a = angle_at(angle + 2u * i);
    let b = angle_at(angle + 2u * i + 1u);
    return vec4<f32>(a.x, a.z, b.x, b.z);
}

fn sines(angle: u32, i: u32) -> vec4<f32> {
    let a = angle_at(angle + 2u * i);
    let b = angle_at(angle + 2u * i + 1u);
    return vec4<f32>(a.y, a.w, b.y, b.w);
}
