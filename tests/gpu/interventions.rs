//! Marks on the entities of a model act on the GPU as the CPU twin's interventions do.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::sync::Arc;

use crate::common::engine::{batch, cpu, largest_difference, on_cpu, on_gpu, tiny, vectors};
use crate::common::gpu::engine;
use bevy::prelude::*;
use pixel_llm::engine::gpu::GpuEngine;
use pixel_llm::forward::Interventions;
use pixel_llm::model::Encoding;
use pixel_llm::tiles::{ModelIndex, Muted, Scale};

/// What logits of the GPU may differ from the twin's: the budget of tests/gpu/forward.rs.
const BUDGET: f32 = 1e-3;
const IDS: [u32; 6] = [3, 14, 15, 9, 26, 5];

fn head(engine: &mut GpuEngine, layer: u32, head: u32) -> Entity {
    engine.world_mut().resource::<ModelIndex>().head(layer, head).unwrap()
}

fn layer(engine: &mut GpuEngine, layer: u32) -> Entity {
    engine.world_mut().resource::<ModelIndex>().layer(layer).unwrap()
}

#[test]
fn a_muted_head_is_muted_from_the_next_step_on_and_back_bit_for_bit_when_the_mark_goes() {
    let model = vectors("q8_0");
    let Some(mut gpu) = engine(Arc::clone(&model), 1) else { return };
    let config = model.config();
    let (layers, heads) = (config.layer_count as usize, config.head_count as usize);
    let batch = batch(&IDS, 0, 0);
    let before = on_gpu(&mut gpu, &batch);

    let at = (1, config.head_count - 1);
    let entity = head(&mut gpu, at.0, at.1);
    gpu.world_mut().entity_mut(entity).insert(Muted);
    let after = on_gpu(&mut gpu, &batch);
    let mut interventions =
        Interventions { heads: vec![1.0; layers * heads], ..Interventions::default() };
    interventions.heads[at.0 as usize * heads + at.1 as usize] = 0.0;
    assert!(largest_difference(&before, &after) > 1e-4, "the head matters");
    let error = largest_difference(&after, &on_cpu(&cpu(&model), &IDS, &interventions, None));
    println!("muted head: {error}");
    assert!(error < BUDGET, "{error}");
    let gathered = gpu.world_mut().resource::<Interventions>().clone();
    assert_eq!(gathered, interventions, "the twin gets the same from the same entities");

    gpu.world_mut().entity_mut(entity).remove::<Muted>();
    assert_eq!(on_gpu(&mut gpu, &batch), before);
}

#[test]
fn a_mark_that_goes_while_layers_change_how_they_are_dispatched_goes_on_the_device_too() {
    let Some(mut gpu) = engine(vectors("q8_0"), 1) else { return };
    let batch = batch(&IDS, 0, 0);
    gpu.set_fused_layers(false);
    let before = on_gpu(&mut gpu, &batch);
    let entity = head(&mut gpu, 1, 0);
    gpu.world_mut().entity_mut(entity).insert(Muted);
    assert_ne!(on_gpu(&mut gpu, &batch), before, "the head matters");
    gpu.set_fused_layers(true);
    gpu.world_mut().entity_mut(entity).remove::<Muted>();
    assert_eq!(on_gpu(&mut gpu, &batch), before);
}

#[test]
fn layers_are_scaled_and_skipped_together_with_heads() {
    let model = tiny("qwen3", Encoding::Q4_K);
    let Some(mut gpu) = engine(Arc::clone(&model), 1) else { return };
    let config = model.config();
    let (layers, heads) = (config.layer_count as usize, config.head_count as usize);
    let twin = cpu(&model);
    let batch = batch(&IDS, 0, 0);
    let before = on_gpu(&mut gpu, &batch);

    let strong = layer(&mut gpu, 0);
    let loud = head(&mut gpu, 1, 0);
    gpu.world_mut().entity_mut(strong).insert(Scale(1.5));
    gpu.world_mut().entity_mut(loud).insert(Scale(-2.0));
    let mut interventions =
        Interventions { heads: vec![1.0; layers * heads], layers: vec![1.0; layers] };
    (interventions.layers[0], interventions.heads[heads]) = (1.5, -2.0);
    let scaled = on_gpu(&mut gpu, &batch);
    let error = largest_difference(&scaled, &on_cpu(&twin, &IDS, &interventions, None));
    println!("scaled: {error}");
    assert!(error < BUDGET, "{error}");
    assert!(largest_difference(&before, &scaled) > 1e-3, "the factors matter");

    gpu.world_mut().entity_mut(strong).insert(Muted);
    interventions.layers[0] = 0.0;
    let skipped = on_gpu(&mut gpu, &batch);
    let error = largest_difference(&skipped, &on_cpu(&twin, &IDS, &interventions, None));
    println!("skipped: {error}");
    assert!(error < BUDGET, "{error}");
    assert!(largest_difference(&scaled, &skipped) > 1e-3, "the layer matters");

    gpu.world_mut().entity_mut(strong).remove::<(Muted, Scale)>();
    gpu.world_mut().entity_mut(loud).remove::<Scale>();
    assert_eq!(on_gpu(&mut gpu, &batch), before);
}
