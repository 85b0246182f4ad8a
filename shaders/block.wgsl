// One block of 32 activations, in every lane. Lane i loads values 4i to 4i + 3; shuffles by a constant lane then cost one
// instruction per value on a software adapter, where a load at a loop's index costs one per lane.
#define_import_path pixel_llm::block
#import pixel_llm::lanes::{shuffle, broadcast}

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
    block.x = spread_block(s, lane);
    return block;
}

// The activations of one block as they are, in every lane.
fn spread_block(v: vec4<f32>, lane: u32) -> array<vec4<f32>, 8> {
    return array<vec4<f32>, 8>(broadcast(v, lane, 0u), broadcast(v, lane, 1u), broadcast(v, lane, 2u), broadcast(v, lane, 3u),
                               broadcast(v, lane, 4u), broadcast(v, lane, 5u), broadcast(v, lane, 6u), broadcast(v, lane, 7u));
}
