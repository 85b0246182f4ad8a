// One block of 32 activations, in every lane. Lane i loads values 4i to 4i + 3; shuffles by a
// constant lane then cost one instruction per value on a software adapter, where a load at a loop's
// index costs one per lane. And its product with a block of weights.
#define_import_path pixel_llm::block
#import pixel_llm::lanes::{shuffle, broadcast}
#import pixel_llm::weights::Weights

struct Block {
    // The activations, scaled as the encoding wants them.
    x: array<vec4<f32>, 8>,
    // Sums of the unscaled activations 0 to 15 and 16 to 31.
    low: f32,
    high: f32,
}

// `v` is this lane's four activations, `scale` what the encoding multiplies them with.
fn share_block(v: vec4<f32>, scale: vec4<f32>, lane: u32) -> Block {
    let a = (v.x + v.y) + (v.z + v.w);
    let b = a + shuffle(a, lane, lane ^ 1u);
    let c = b + shuffle(b, lane, lane ^ 2u);
    let s = v * scale;
    var block: Block;
    block.low = shuffle(c, lane, 0u);
    block.high = shuffle(c, lane, 4u);
    block.x = array<vec4<f32>, 8>(
        broadcast(s, lane, 0u), broadcast(s, lane, 1u),
        broadcast(s, lane, 2u), broadcast(s, lane, 3u),
        broadcast(s, lane, 4u), broadcast(s, lane, 5u),
        broadcast(s, lane, 6u), broadcast(s, lane, 7u),
    );
    return block;
}

fn dot_block(w: Weights, b: Block) -> f32 {
    let t = (w.codes[0] * b.x[0] + w.codes[1] * b.x[1])
        + (w.codes[2] * b.x[2] + w.codes[3] * b.x[3]);
    let u = (w.codes[4] * b.x[4] + w.codes[5] * b.x[5])
        + (w.codes[6] * b.x[6] + w.codes[7] * b.x[7]);
    return w.scale.x * ((t.x + t.y) + (t.z + t.w)) + w.scale.y * ((u.x + u.y) + (u.z + u.w))
        + (w.offset.x * b.low + w.offset.y * b.high);
}
