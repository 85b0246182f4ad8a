//! Training in the render graph of a window: each frame goes on with the step by some dispatches.
//!
//! In: [`Learning`] in the render world, with the next step. Out: what the step came to. Prompts
//! and drawing go on beside it, on the same pages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bevy::core_pipeline::schedule::camera_driver;
use bevy::prelude::*;
use bevy::render::RenderApp;
use bevy::render::renderer::{RenderGraph, RenderGraphSystems};

use super::{GpuTrainer, GpuTraining, OpeningTrainer, StepUnderWay};
use crate::forward::gpu::ForwardPluginSystems;
use crate::model::{Adapter, PixelModel};
use crate::training::{LossSum, Sequence, StepReport, TrainError, TrainingSettings};

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

/// What came of the work that [`Learning`] was given.
#[derive(Debug, Clone, PartialEq)]
pub enum LearningReport {
    /// A step was made.
    Step(StepReport),
    /// The model was looked at, and nothing was learnt.
    Look(LossSum),
}

/// A step at a rate, or a look at losses.
struct LearningWork {
    sequences: Vec<Sequence>,
    rate: Option<f32>,
}

/// A model that learns beside the frames, in the render world.
#[derive(Resource)]
pub struct Learning {
    trainer: Option<TrainerPhase>,
    budget: Duration,
    queue: VecDeque<LearningWork>,
    under_way: Option<StepUnderWay>,
    done: VecDeque<Result<LearningReport, TrainError>>,
}

enum TrainerPhase {
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
        let trainer = Some(TrainerPhase::Opening(Box::new(opening)));
        let (queue, done) = (VecDeque::new(), VecDeque::new());
        Ok(Self { trainer, budget, queue, under_way: None, done })
    }

    /// How long a frame goes on from now on.
    pub fn set_budget(&mut self, budget: Duration) {
        self.budget = budget;
    }

    /// A step, after what was asked for before.
    pub fn step(&mut self, sequences: Vec<Sequence>, rate: f32) {
        self.queue.push_back(LearningWork { sequences, rate: Some(rate) });
    }

    /// The losses of sequences as the model is then, after what was asked for before.
    pub fn look(&mut self, sequences: Vec<Sequence>) {
        self.queue.push_back(LearningWork { sequences, rate: None });
    }

    /// What the first of the works came to whose report was not taken yet. What comes after an
    /// error was given up with it.
    pub fn take_report(&mut self) -> Option<Result<LearningReport, TrainError>> {
        self.done.pop_front()
    }

    /// The trainer, once its kernels are compiled: for its state, or another's.
    pub fn trainer(&mut self) -> Option<&mut GpuTrainer> {
        match &mut self.trainer {
            Some(TrainerPhase::Open(trainer)) => Some(trainer),
            _ => None,
        }
    }

    /// Goes on for as long as the budget. A step takes at least one dispatch in each frame.
    fn go_on(&mut self, world: &World) {
        let started = Instant::now();
        if let Err(error) = self.compile(world) {
            self.fail(error);
        }
        while let (Some(TrainerPhase::Open(trainer)), Some(work)) =
            (&mut self.trainer, self.queue.front())
        {
            match advance(trainer, &mut self.under_way, work) {
                Ok(None) => {}
                Ok(Some(report)) => {
                    self.done.push_back(Ok(report));
                    self.queue.pop_front();
                    self.under_way = None;
                }
                Err(error) => self.fail(error),
            }
            if started.elapsed() >= self.budget {
                return;
            }
        }
    }

    fn fail(&mut self, error: TrainError) {
        self.queue.clear();
        self.under_way = None;
        self.done.push_back(Err(error));
    }

    fn compile(&mut self, world: &World) -> Result<(), TrainError> {
        self.trainer = match self.trainer.take() {
            Some(TrainerPhase::Opening(opening)) => Some(match opening.poll(world)? {
                Ok(trainer) => TrainerPhase::Open(Box::new(trainer)),
                Err(opening) => TrainerPhase::Opening(Box::new(opening)),
            }),
            other => other,
        };
        Ok(())
    }
}

fn advance(
    trainer: &mut GpuTrainer,
    under_way: &mut Option<StepUnderWay>,
    work: &LearningWork,
) -> Result<Option<LearningReport>, TrainError> {
    let step = match under_way {
        Some(step) => step,
        none => none.insert(trainer.begin(&work.sequences, work.rate.is_some())?),
    };
    let Some(losses) = trainer.go_on(step)? else { return Ok(None) };
    Ok(Some(match work.rate {
        Some(rate) => LearningReport::Step(trainer.finish(&work.sequences, losses, rate)?),
        None => LearningReport::Look(losses),
    }))
}

fn learn(world: &mut World) {
    world.resource_scope(|world, mut learning: Mut<Learning>| learning.go_on(world));
}
