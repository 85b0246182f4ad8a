//! A model that answers in a render world learns there too, a few dispatches a frame, on the pages
//! that it answers from.

use std::sync::Arc;
use std::time::Duration;

use bevy::prelude::*;
use bevy::render::RenderApp;
use pixel_llm::engine::gpu::KernelConfig;
use pixel_llm::engine::gpu::headless::{AdapterFacts, prepare};
use pixel_llm::forward::gpu::model::{GpuModel, GpuModelPlugin, GpuModelSource, Sizes};
use pixel_llm::residency::compute::StreamTuning;
use pixel_llm::training::gpu::{GpuTrainer, GpuTraining, LearnPlugin, Learning, LearningReport};
use pixel_llm::training::{StepReport, Trainer};

use crate::common::gpu::forward_app;
use crate::common::{forward, shared};
use crate::gpu::{rank_eight, sequence, shaders};

/// Frames in which a step of a small model must be done.
const FRAMES: usize = 20_000;

#[test]
fn a_model_learns_beside_the_frames_of_its_answers() {
    let Some(gguf) = shared("golden/train-llama.gguf") else { return };
    let Some(mut app) = forward_app(None) else { return };
    let model = Arc::new(forward::open(&gguf));
    let family = KernelConfig::usual(app.world().resource::<AdapterFacts>()).family;
    let sizes = Sizes { slots: 1, context: 32, columns: 8, steps: 1 };
    app.add_plugins((
        GpuModelPlugin {
            model: GpuModelSource {
                model: Arc::clone(&model),
                sizes,
                family,
                persistent_workgroups: 0,
                compile_ahead: false,
                memory: None,
                tuning: StreamTuning::default(),
            },
        },
        LearnPlugin,
    ));
    prepare(&mut app);
    app.update();
    let settings = rank_eight();
    let training = GpuTraining {
        columns: 48,
        memory: None,
        choice: Default::default(),
        shape: None,
        shaders: shaders(),
    };
    let sequences = vec![sequence(40, 160), sequence(23, 160)];
    let world = app.sub_app_mut(RenderApp).world_mut();
    assert!(world.contains_resource::<GpuModel>(), "what learns is what answers");
    let of_run = (&settings, None);
    let mut learning =
        Learning::open(world, Arc::clone(&model), of_run, &training, Duration::ZERO).unwrap();
    learning.step(sequences.clone(), 1e-3);
    world.insert_resource(learning);

    let (first, frames) = until_done(&mut app);
    assert!(frames > 100, "a dispatch for each of {frames} frames");
    let mut alone = GpuTrainer::new(Arc::clone(&model), &settings, None, &training).unwrap();
    assert_eq!(alone.step(&sequences, 1e-3, &|| false).unwrap(), first);
    let mut learning = app.sub_app_mut(RenderApp).world_mut().resource_mut::<Learning>();
    learning.step(sequences.clone(), 2e-3);
    let (second, _) = until_done(&mut app);
    assert_eq!(alone.step(&sequences, 2e-3, &|| false).unwrap(), second);
    let mut learning = app.sub_app_mut(RenderApp).world_mut().resource_mut::<Learning>();
    let state = learning.trainer().unwrap().state().unwrap();
    assert_eq!(state, alone.state().unwrap(), "to the last bit");
}

/// The step's report, and how many frames it took.
fn until_done(app: &mut App) -> (StepReport, usize) {
    for frame in 1..FRAMES {
        app.update();
        let mut learning = app.sub_app_mut(RenderApp).world_mut().resource_mut::<Learning>();
        if let Some(report) = learning.take_report() {
            let LearningReport::Step(report) = report.unwrap() else { panic!("a step was asked") };
            return (report, frame);
        }
    }
    panic!("the step is not done after {FRAMES} frames");
}
