//! Training in the render graph of a window: each frame goes on with the step by some dispatches.
//!
//! In: [`Learning`] in the render world, with the next step. Out: what the step came to. Prompts
//! and drawing go on beside it, on the same pages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bevy::core_pipeline::schedule::camera_driver;
use bevy::prelude::*;
use bevy::render::RenderApp;
use bevy::render::renderer::{RenderGraph, RenderGraphSystems};

use super::{GpuTrainer, GpuTraining, OpeningTrainer, UnderWay};
use crate::forward::gpu::ForwardPluginSystems;
use crate::model::{Adapter, PixelModel};
use crate::training::{Sequence, StepReport, TrainError, TrainingSettings};

/// Has the render graph go on with the steps of [`Learning`], where there is that resource. Comes
/// after `ForwardPlugin`.
pub struct LearnPlugin;

/// Where [`LearnPlugin`] works in `RenderGraph`.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub struct LearnSystems;

impl Plugin for LearnPlugin {
    fn build(&self, app: &mut App) {
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app.add_systems(
            RenderGraph,
            learn
                .in_set(LearnSystems)
                .in_set(RenderGraphSystems::Render)
                .after(ForwardPluginSystems::Compile)
                .before(camera_driver)
                .run_if(resource_exists::<Learning>),
        );
    }
}

/// A model that learns beside the frames, in the render world.
#[derive(Resource)]
pub struct Learning {
    trainer: Option<Trainer>,
    budget: Duration,
    next: Option<(Vec<Sequence>, f32)>,
    under_way: Option<UnderWay>,
    done: Option<Result<StepReport, TrainError>>,
}

enum Trainer {
    Opening(Box<OpeningTrainer>),
    Open(Box<GpuTrainer>),
}

impl Learning {
    /// Begins to open a trainer on the model that answers in this render world. A frame goes on
    /// with a step for as long as `budget`.
    ///
    /// # Errors
    /// The model or the settings do not fit the kernels or the device.
    pub fn open(
        world: &World,
        model: Arc<PixelModel>,
        (settings, start): (&TrainingSettings, Option<&Adapter>),
        training: &GpuTraining,
        budget: Duration,
    ) -> Result<Self, TrainError> {
        let opening = GpuTrainer::open_in(world, model, settings, start, training)?;
        let trainer = Some(Trainer::Opening(Box::new(opening)));
        Ok(Self { trainer, budget, next: None, under_way: None, done: None })
    }

    /// The next step, in the place of one that is not done.
    pub fn step(&mut self, sequences: Vec<Sequence>, rate: f32) {
        (self.next, self.under_way, self.done) = (Some((sequences, rate)), None, None);
    }

    /// What the last step came to, once.
    pub fn take_report(&mut self) -> Option<Result<StepReport, TrainError>> {
        self.done.take()
    }

    /// The trainer, once its kernels are compiled: for its state, or another's.
    pub fn trainer(&mut self) -> Option<&mut GpuTrainer> {
        match &mut self.trainer {
            Some(Trainer::Open(trainer)) => Some(trainer),
            _ => None,
        }
    }

    /// Goes on for as long as the budget. A step takes at least one dispatch in each frame.
    fn go_on(&mut self, world: &World) {
        let started = Instant::now();
        if let Err(error) = self.compile(world) {
            (self.next, self.done) = (None, Some(Err(error)));
        }
        while let (Some(Trainer::Open(trainer)), Some((sequences, rate))) =
            (&mut self.trainer, &self.next)
        {
            match advance(trainer, &mut self.under_way, sequences, *rate) {
                Ok(None) => {}
                Ok(Some(report)) => self.done = Some(Ok(report)),
                Err(error) => self.done = Some(Err(error)),
            }
            if self.done.is_some() {
                (self.next, self.under_way) = (None, None);
            }
            if started.elapsed() >= self.budget {
                return;
            }
        }
    }

    fn compile(&mut self, world: &World) -> Result<(), TrainError> {
        self.trainer = match self.trainer.take() {
            Some(Trainer::Opening(opening)) => Some(match opening.poll(world)? {
                Ok(trainer) => Trainer::Open(Box::new(trainer)),
                Err(opening) => Trainer::Opening(Box::new(opening)),
            }),
            other => other,
        };
        Ok(())
    }
}

fn advance(
    trainer: &mut GpuTrainer,
    under_way: &mut Option<UnderWay>,
    sequences: &[Sequence],
    rate: f32,
) -> Result<Option<StepReport>, TrainError> {
    let step = match under_way {
        Some(step) => step,
        none => none.insert(trainer.begin(sequences)?),
    };
    match trainer.go_on(step)? {
        Some(losses) => trainer.finish(sequences, losses, rate).map(Some),
        None => Ok(None),
    }
}

fn learn(world: &mut World) {
    world.resource_scope(|world, mut learning: Mut<Learning>| learning.go_on(world));
}
