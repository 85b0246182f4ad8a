// AdamW in place (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101): a workgroup per
// 1024 quads.
#import pixel_llm::training::step::bounded
#import pixel_llm::training::trained::{trained_at, set_trained}

struct AdamwParams {
    values: u32,
    gradient: u32,
    moment: u32,
    square: u32,
    quads: u32,
    rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    // What a value shrinks to by its decay.
    keep: f32,
    // What makes both moments unbiased.
    first_factor: f32,
    second_factor: f32,
    // What clips the gradient.
    clip: f32,
    padding_a: u32,
    padding_b: u32,
    padding_c: u32,
}

@group(0) @binding(4) var<uniform> params: AdamwParams;

@compute @workgroup_size(8)
fn adamw(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = params;
    let piece = group.y * 256u + group.x;
    let end = min((piece + 1u) * 1024u, bounded(p.quads));
    for (var i = piece * 1024u + lane; i < end; i += 8u) {
        let g = trained_at(p.gradient + i) * p.clip;
        let m = p.beta1 * trained_at(p.moment + i) + (1.0 - p.beta1) * g;
        let v = p.beta2 * trained_at(p.square + i) + (1.0 - p.beta2) * g * g;
        set_trained(p.moment + i, m);
        set_trained(p.square + i, v);
        let root = sqrt(v * p.second_factor) + p.epsilon;
        let step = p.rate * (m * p.first_factor) / root;
        set_trained(p.values + i, trained_at(p.values + i) * p.keep - step);
    }
}
