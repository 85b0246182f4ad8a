//! What the window and the render world pay each other while a model learns: work goes in, reports,
//! the gradient of the last step and what was learnt come out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bevy::core_pipeline::schedule::camera_driver;
use bevy::prelude::*;
use bevy::render::RenderApp;
use bevy::render::renderer::{RenderGraph, RenderGraphSystems};

use super::gradient::GradientNorms;
use crate::forward::gpu::ForwardPluginSystems;
use crate::forward::gpu::model::GpuModel;
use crate::model::{Adapter, PixelModel};
use crate::training::gpu::{GpuTraining, LearnPlugin, LearnSystems, Learning, LearningReport};
use crate::training::{Sequence, TrainingSettings};

/// What is to be opened.
pub(super) struct DeskOpening {
    pub model: Arc<PixelModel>,
    pub settings: TrainingSettings,
    /// The most columns of a pass.
    pub columns: u32,
}

/// Sequences to learn from at a rate, or to look at.
pub(super) struct DeskWork {
    pub sequences: Vec<Sequence>,
    pub rate: Option<f32>,
}

/// What was learnt after so many steps.
pub(super) type Learnt = (u64, Adapter);

#[derive(Default)]
pub(super) struct Desk {
    pub opening: Option<DeskOpening>,
    pub closes: bool,
    pub work: Vec<DeskWork>,
    pub wants_adapter: bool,
    /// What a frame may spend on it.
    pub budget: Duration,
    /// What the last frame spent on it.
    pub spent: Duration,
    pub reports: VecDeque<Result<LearningReport, String>>,
    pub gradient: Option<GradientNorms>,
    pub learnt: Option<Learnt>,
}

/// What both worlds share; they never run at the same time here.
#[derive(Resource, Clone, Default)]
pub(super) struct DeskLink(Arc<Mutex<Desk>>);

impl DeskLink {
    pub fn with<R>(&self, act: impl FnOnce(&mut Desk) -> R) -> R {
        // What is in it is whole at any time.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where a frame's learning is, in `RenderGraph`: after its thinking.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::world) struct DeskSystems;

/// When the learning of this frame began.
#[derive(Resource, Default)]
struct Begun(Option<Instant>);

/// Has the render world work on what the link says.
pub(super) struct DeskPlugin(pub DeskLink);

impl Plugin for DeskPlugin {
    fn build(&self, app: &mut App) {
        app.add_plugins(LearnPlugin);
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app.insert_resource(self.0.clone()).init_resource::<Begun>().add_systems(
            RenderGraph,
            (hand_out.before(LearnSystems), take_in.after(LearnSystems))
                .in_set(DeskSystems)
                .in_set(RenderGraphSystems::Render)
                .after(ForwardPluginSystems::Compile)
                .before(camera_driver)
                .run_if(resource_exists::<GpuModel>),
        );
    }
}

/// Opens, closes and gives work.
fn hand_out(world: &mut World) {
    let link = world.resource::<DeskLink>().clone();
    world.resource_mut::<Begun>().0 = Some(Instant::now());
    link.with(|desk| {
        if std::mem::take(&mut desk.closes) {
            world.remove_resource::<Learning>();
            desk.work.clear();
            desk.reports.clear();
            (desk.wants_adapter, desk.learnt, desk.gradient) = (false, None, None);
        }
        if let Some(DeskOpening { model, settings, columns }) = desk.opening.take() {
            let training = GpuTraining { columns, ..GpuTraining::default() };
            let of_run = (&settings, None);
            match Learning::open(world, model, of_run, &training, desk.budget) {
                Ok(learning) => world.insert_resource(learning),
                Err(error) => desk.reports.push_back(Err(error.to_string())),
            }
        }
        let Some(mut learning) = world.get_resource_mut::<Learning>() else { return };
        learning.set_budget(desk.budget);
        for DeskWork { sequences, rate } in desk.work.drain(..) {
            match rate {
                Some(rate) => learning.step(sequences, rate),
                None => learning.look(sequences),
            }
        }
    });
}

/// Takes what has come of the work.
fn take_in(world: &mut World) {
    let link = world.resource::<DeskLink>().clone();
    let config = world.resource::<GpuModel>().config.clone();
    let begun = world.resource_mut::<Begun>().0.take();
    let Some(mut learning) = world.get_resource_mut::<Learning>() else { return };
    link.with(|desk| {
        let mut has_step = false;
        while let Some(report) = learning.take_report() {
            has_step |= matches!(report, Ok(LearningReport::Step(_)));
            desk.reports.push_back(report.map_err(|error| error.to_string()));
        }
        if let Some(trainer) = learning.trainer() {
            if has_step {
                match trainer.gradients() {
                    Ok(factors) => {
                        let of_step = (&factors[..], trainer.stream_gradients());
                        let norms = GradientNorms::of(trainer.steps(), of_step, &config);
                        desk.gradient = Some(norms);
                    }
                    Err(error) => desk.reports.push_back(Err(error.to_string())),
                }
            }
            if std::mem::take(&mut desk.wants_adapter) {
                match trainer.adapter() {
                    Ok(adapter) => {
                        desk.learnt = adapter.map(|adapter| (trainer.steps(), adapter));
                    }
                    Err(error) => desk.reports.push_back(Err(error.to_string())),
                }
            }
        }
        desk.spent = begun.map_or(Duration::ZERO, |begun| begun.elapsed());
    });
}
