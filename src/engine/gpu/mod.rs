//! The engine on the GPU: batches go through the forward pass in a headless app's render graph.
//!
//! Tokens are sampled on the device and fed back there for several steps of one submit. Where
//! log-probabilities are asked for, the logits are read back and the CPU's sampler answers.

mod batch_steps;
mod draws;
mod fused_layer_policy;
pub mod headless;
mod profile;
mod slices;
mod stepper;
pub mod streaming_trial;
pub(crate) mod threads;
pub mod trial;

pub(crate) use fused_layer_policy::FusedLayerPolicy;
pub use stepper::CompletedStep;
pub(crate) use stepper::{StepRequest, Stepper};

use std::sync::Arc;

use self::headless::{AdapterFacts, GpuChoice, GpuError, headless_app, prepare};
use self::threads::workers;
use super::{Batch, Capacity, Engine, EngineError, EngineProfile, Sampled, answer};
use crate::forward::gpu::kernels::KernelFamily;
use crate::forward::gpu::model::{
    GpuModel, GpuModelError, GpuModelFailure, GpuModelPlugin, GpuModelSource, Sizes,
};
use crate::forward::gpu::shaders::{ShaderError, ShadersPlugin, load_sources};
use crate::forward::gpu::{ForwardPlugin, ForwardState, ForwardStatus, InterventionsPlugin};
use crate::forward::sampling::Sampler;
use crate::forward::{AdapterSet, Hook, Interventions};
use crate::model::{Adapter, PixelModel};
use crate::residency::ResidencyMetrics;
use crate::residency::compute::Pool;
use crate::size::MemorySize;
use crate::tiles::{ModelIndex, Muted, Scale, spawn_model};
use crate::words::counted;
use batch_steps::{BatchSteps, BatchStepsPlugin, FrameWork};
use bevy::{
    app::App,
    ecs::{change_detection::Mut, entity::Entity, world::World},
    render::{
        RenderApp,
        render_resource::PollType,
        renderer::{RenderDevice, RenderQueue},
    },
};
use draws::{draws_on_device, read_draws};
use stepper::{lost, set_fused_layers};

/// The most columns of a step.
const COLUMNS: u32 = 64;
/// The most tokens sampled on the device before they are read back.
const STEPS: u32 = 16;
/// Frames in which pipelines must be compiled; they are compiled in the frame that asks for them.
const STARTING_FRAMES: u32 = 64;

/// Why a model cannot be run on a GPU.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuEngineError {
    /// There is no GPU.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A shader cannot be read.
    #[error(transparent)]
    Shader(#[from] ShaderError),
    /// The model cannot be put there.
    #[error(transparent)]
    GpuModel(#[from] GpuModelError),
    /// A kernel does not compile.
    #[error("the GPU kernels do not compile: {0}")]
    Kernels(String),
}

/// How a model is computed on an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KernelConfig {
    /// How the kernels share their work.
    pub family: KernelFamily,
    /// Whether a layer of one column is one dispatch, where that is possible.
    pub fused_layers: bool,
}

impl KernelConfig {
    /// What suits an adapter as far as it says what it is.
    pub fn usual(adapter: &AdapterFacts) -> Self {
        let (software, subgroups) = (adapter.is_software(), adapter.subgroups);
        let family =
            KernelFamily { split: !software, subgroups, textures: software && adapter.textures };
        Self { family, fused_layers: software && subgroups }
    }

    /// Workgroups that share a layer and wait for each other: one per thread of a software adapter,
    /// or 0 where layers are several dispatches.
    pub fn persistent_workgroups(&self) -> u32 {
        if self.fused_layers { workers() } else { 0 }
    }

    /// What a person is told of it, in a few words.
    pub fn name(&self) -> String {
        let whole = if self.fused_layers { ", fused layers" } else { "" };
        format!("{}{whole}", self.family.name())
    }
}

/// A model on the GPU with places for some sequences.
pub struct GpuEngine {
    app: App,
    sizes: Sizes,
    vocab: usize,
    sampler: Sampler,
    plan: KernelConfig,
}

impl GpuEngine {
    /// An engine for `slots` sequences of up to `context` positions, computed as usual on its
    /// adapter.
    ///
    /// # Errors
    /// There is no adapter, or the model does not fit what the kernels and the device can do.
    pub fn new(
        model: Arc<PixelModel>,
        slots: usize,
        context: usize,
        choice: &GpuChoice,
    ) -> Result<Self, GpuEngineError> {
        Self::with_plan(model, slots, context, choice, None)
    }

    /// An engine that computes as `plan` says.
    ///
    /// # Errors
    /// As for [`GpuEngine::new`]; or the adapter cannot do what is planned.
    pub fn with_plan(
        model: Arc<PixelModel>,
        slots: usize,
        context: usize,
        choice: &GpuChoice,
        plan: Option<KernelConfig>,
    ) -> Result<Self, GpuEngineError> {
        let vocab = model.config().vocab_size as usize;
        let (slots, context) = (slots as u32, context as u32);
        // Each answer has a column in every step, however many slots there are.
        let sizes = Sizes { slots, context, columns: COLUMNS.max(slots), steps: STEPS };
        let mut app = headless_app(choice)?;
        spawn_model(app.world_mut(), &model);
        let plan =
            plan.unwrap_or_else(|| KernelConfig::usual(app.world().resource::<AdapterFacts>()));
        app.add_plugins((
            ShadersPlugin { sources: load_sources(None)? },
            ForwardPlugin,
            GpuModelPlugin {
                model: GpuModelSource {
                    model,
                    sizes,
                    family: plan.family,
                    persistent_workgroups: plan.persistent_workgroups(),
                    // No frame of a window waits here when a step first needs a kernel.
                    compile_ahead: false,
                    memory: choice.memory,
                    tuning: choice.tuning,
                },
            },
            InterventionsPlugin,
            BatchStepsPlugin,
        ));
        prepare(&mut app);
        for _ in 0..STARTING_FRAMES {
            app.update();
            let failure =
                app.sub_app_mut(RenderApp).world_mut().resource_mut::<GpuModelFailure>().0.take();
            if let Some(error) = failure {
                return Err(error.into());
            }
            match &app.world().resource::<ForwardStatus>().state {
                ForwardState::Ready => {
                    // Streamed models have one pass per step.
                    let sizes = network(&app).sizes;
                    let sampler = Sampler::default();
                    return Ok(Self { app, sizes, vocab, sampler, plan });
                }
                ForwardState::Failed(why) => return Err(GpuEngineError::Kernels(why.clone())),
                ForwardState::Starting => {}
            }
        }
        Err(GpuEngineError::Kernels(format!("not ready after {STARTING_FRAMES} frames")))
    }

    /// Puts adapters beside the model, and has those of a set act wherever a batch does not say
    /// otherwise.
    ///
    /// # Errors
    /// One does not fit the model or the device.
    pub fn set_adapters(
        &mut self,
        model: &PixelModel,
        adapters: &[Arc<Adapter>],
        usual: AdapterSet,
    ) -> Result<(), GpuEngineError> {
        let slots = self.sizes.slots;
        let world = self.render_world();
        GpuModel::set_adapters(world, model, adapters)?;
        let queue = world.resource::<RenderQueue>().clone();
        let mut network = world.resource_mut::<GpuModel>();
        (0..slots).for_each(|slot| network.set_slot(&queue, slot, &usual));
        world.resource_mut::<BatchSteps>().stepper.usual = usual;
        Ok(())
    }

    /// The model on the device, to look at it or change it.
    pub fn network(&self) -> (&GpuModel, &RenderDevice, &RenderQueue) {
        let world = self.app.world();
        (network(&self.app), world.resource::<RenderDevice>(), world.resource::<RenderQueue>())
    }

    /// The adapter it is on.
    pub fn adapter(&self) -> &AdapterFacts {
        self.app.world().resource::<AdapterFacts>()
    }

    /// How it computes. Its layers are not fused any more once their workgroups did not meet.
    pub fn plan(&self) -> KernelConfig {
        KernelConfig { fused_layers: network(&self.app).fused_layers, ..self.plan }
    }

    /// Computes a layer of one column in one dispatch from now on, or not.
    pub fn set_fused_layers(&mut self, fused_layers: bool) {
        set_fused_layers(self.render_world(), fused_layers);
    }

    /// Runs columns through the model and returns the logits of those that `wanted` names.
    ///
    /// # Errors
    /// The device was lost.
    pub fn logits(&mut self, batch: &Batch, wanted: &[u32]) -> Result<Vec<Vec<f32>>, EngineError> {
        Ok(self.run(request(batch, wanted))?.logits)
    }

    /// The main world, in which the model is entities: a `Muted` or `Scale` on a head or layer
    /// counts from the next step on.
    pub fn world_mut(&mut self) -> &mut World {
        self.app.world_mut()
    }

    /// As [`GpuEngine::logits`], with hooks on the columns of the batch.
    ///
    /// # Errors
    /// A hook cannot be set, the batch does not fit, or the device was lost.
    pub fn logits_with_hooks(
        &mut self,
        batch: &Batch,
        wanted: &[u32],
        hooks: &[Hook],
    ) -> Result<CompletedStep, EngineError> {
        self.run(StepRequest { hooks: hooks.to_vec(), ..request(batch, wanted) })
    }

    /// Takes a step and waits for what it makes.
    fn run(&mut self, request: StepRequest) -> Result<CompletedStep, EngineError> {
        self.begin(FrameWork::Step(Box::new(request)))?;
        let poll = |world: &mut World, mut steps: Mut<BatchSteps>| steps.stepper.poll(world);
        let step = self.render_world().resource_scope(poll)?;
        // Nothing limits the wait, so only a device that hangs leaves it open.
        step.ok_or_else(|| EngineError::DeviceLost("the step does not come to an end".into()))
    }

    /// Has frames pass until the kernels of a step are there. The first brings to the device what
    /// has changed in the main world.
    fn begin(&mut self, work: FrameWork) -> Result<(), EngineError> {
        let mut steps = self.render_world().resource_mut::<BatchSteps>();
        steps.next = Some(work);
        for _ in 0..STARTING_FRAMES {
            self.app.update();
            let begun = self.render_world().resource_mut::<BatchSteps>().begun.take();
            match begun {
                None | Some(Err(EngineError::Compiling)) => {}
                Some(begun) => return begun,
            }
        }
        // Given up: the next frame, which is run for something else, must not begin it.
        self.render_world().resource_mut::<BatchSteps>().next = None;
        Err(EngineError::Compiling)
    }

    fn render_world(&mut self) -> &mut World {
        self.app.sub_app_mut(RenderApp).world_mut()
    }

    /// What streams the model's tiles, where they do not fit the device.
    pub fn pool(&self) -> Option<&Pool> {
        self.app.sub_app(RenderApp).world().get_resource::<Pool>()
    }

    /// Waits until everything that was asked for is computed.
    ///
    /// # Errors
    /// The device was lost.
    pub fn wait(&self) -> Result<(), EngineError> {
        let (_, device, _) = self.network();
        device.poll(PollType::wait_indefinitely()).map_err(lost)?;
        Ok(())
    }

    fn draw(&mut self, batch: &Batch, wanted: &[u32]) -> Result<Vec<Vec<Sampled>>, EngineError> {
        let step = self.run(StepRequest { draws: true, ..request(batch, wanted) })?;
        let passes = batch.steps.max(1) as usize;
        read_draws(&step.sampled, self.sizes.steps as usize, passes, self.vocab)
    }
}

/// A step that gives the logits of some columns of a batch.
fn request(batch: &Batch, wanted: &[u32]) -> StepRequest {
    StepRequest { batch: batch.clone(), wanted: wanted.to_vec(), ..StepRequest::default() }
}

/// Marks the entities of the model with factors, and takes all other marks away. False where there
/// is no model.
fn set_factors(world: &mut World, interventions: &Interventions) -> bool {
    let Some(index) = world.get_resource::<ModelIndex>() else { return false };
    let heads = (0..index.layer_count()).flat_map(|layer| {
        (0..index.heads_per_layer())
            .map(move |head| (layer, head))
            .filter_map(|(layer, head)| index.head(layer, head))
    });
    let layers = (0..index.layer_count()).filter_map(|layer| index.layer(layer));
    let marked = |entities: Vec<Entity>, factors: &[f32]| -> Vec<(Entity, f32)> {
        // A list that is shorter than the model leaves the rest as it is.
        let factor = |at: usize| factors.get(at).copied().unwrap_or(1.0);
        entities.into_iter().enumerate().map(|(at, entity)| (entity, factor(at))).collect()
    };
    let mut marks = marked(heads.collect(), &interventions.heads);
    marks.extend(marked(layers.collect(), &interventions.layers));
    for (entity, factor) in marks {
        let mut entity = world.entity_mut(entity);
        entity.remove::<(Muted, Scale)>();
        if factor != 1.0 {
            entity.insert(Scale(factor));
        }
    }
    true
}

fn network(app: &App) -> &GpuModel {
    app.sub_app(RenderApp).world().resource::<GpuModel>()
}

impl Engine for GpuEngine {
    fn capacity(&self) -> Capacity {
        Capacity {
            slots: self.sizes.slots as usize,
            context: self.sizes.context as usize,
            vocab: self.vocab,
            columns: self.sizes.columns as usize,
            steps: self.sizes.steps as usize,
        }
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError> {
        // Two asks about one column share its logits.
        let mut wanted: Vec<u32> = batch.asks.iter().map(|ask| ask.column).collect();
        wanted.dedup();
        // The device has one row per draw: two asks about one column go the other way.
        if !wanted.is_empty()
            && wanted.len() == batch.asks.len()
            && batch.asks.iter().all(draws_on_device)
        {
            return self.draw(batch, &wanted);
        }
        let logits = self.logits(batch, &wanted)?;
        let mut row = 0;
        let mut answers = Vec::with_capacity(batch.asks.len());
        for ask in &batch.asks {
            // Both ascend, and each ask's column is among the wanted, so `row` stays inside.
            while wanted[row] != ask.column {
                row += 1;
            }
            answers.push(vec![answer(&mut self.sampler, &logits[row], ask)?]);
        }
        Ok(answers)
    }

    fn set_interventions(&mut self, interventions: &Interventions) -> bool {
        set_factors(self.app.world_mut(), interventions)
    }

    fn device(&self) -> String {
        let adapter = &self.adapter().info;
        let streamed = self.pool().map_or(String::new(), |pool| {
            let [slots, bytes] =
                [pool.plan().size_in_bytes(), pool.plan().streamed_bytes()].map(MemorySize);
            format!(", streamed through {slots}, {bytes} per pass")
        });
        let with = match self.network().0.adapter_count() {
            0 => String::new(),
            count => format!(", {}", counted(count as u64, "adapter")),
        };
        let plan = self.plan().name();
        format!("{} ({:?}), {plan}{with}{streamed}", adapter.name, adapter.backend)
    }

    fn residency(&self) -> Option<ResidencyMetrics> {
        self.pool().map(|pool| pool.counters().figures())
    }

    fn profile(&mut self, batch: &Batch) -> Result<Option<EngineProfile>, EngineError> {
        profile::profile(self, batch).map(Some)
    }
}
