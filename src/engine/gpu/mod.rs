//! The engine on the GPU: batches go through the forward pass in a headless app's render graph.
//!
//! Tokens are drawn on the device and fed back there for several steps of one submit. Where
//! log-probabilities are asked for, the logits are read back and the CPU's sampler answers.

mod draws;
pub mod headless;
mod hooks;
mod profile;
pub(crate) mod threads;
pub mod trial;

pub use hooks::Hooked;

use std::sync::Arc;

use self::headless::{AdapterFacts, GpuChoice, GpuError, headless_app, prepare};
use self::threads::workers;
use super::{Batch, Capacity, Column, Engine, EngineError, LogitsQuery, Profile, Sampled, answer};
use crate::forward::Interventions;
use crate::forward::gpu::kernels::KernelFamily;
use crate::forward::gpu::model::{
    Copy, GpuModel, GpuModelError, GpuModelFailure, GpuModelPlugin, GpuModelSource, NO_LOGITS,
    Sizes, Step, StreamFailure,
};
use crate::forward::gpu::readback::read_starts;
use crate::forward::gpu::shaders::{ShaderError, ShadersPlugin, load_sources};
use crate::forward::gpu::{
    ForwardPlugin, ForwardRequest, ForwardState, ForwardStatus, InterventionsPlugin,
};
use crate::forward::sampling::{Sampler, SamplingError};
use crate::model::PixelModel;
use crate::residency::ResidencyMetrics;
use crate::residency::compute::Pool;
use crate::size::MemorySize;
use crate::tiles::{ModelIndex, Muted, Scale, spawn_model};
use bevy::{
    app::App,
    ecs::{change_detection::DetectChangesMut, entity::Entity, world::World},
    render::{
        RenderApp,
        render_resource::{Buffer, PollType},
        renderer::{RenderDevice, RenderQueue},
    },
};
use draws::{draws_on_device, sampling_mode, write_draws};

/// The most columns of a step.
const COLUMNS: u32 = 64;
/// The most tokens drawn on the device before they are read back.
const REPEATS: u32 = 16;
/// Barriers of a layer's workgroups in one submit that may take longer than a time slice. On a
/// machine that is busy with other programs, layers in several dispatches are faster, which wait
/// for no thread in particular.
const MOST_SLOW_BARRIERS: u32 = 16;
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

    /// In words.
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
    stride: usize,
    steps: u64,
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
        let sizes = Sizes { slots, context, columns: COLUMNS.max(slots), repeats: REPEATS };
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
                    compile_ahead: false,
                    memory: choice.memory,
                },
            },
            InterventionsPlugin,
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
                    let stride = network(&app).logits_stride();
                    // Streamed models have one pass per step.
                    let sizes = network(&app).sizes;
                    let sampler = Sampler::default();
                    return Ok(Self { app, sizes, vocab, stride, steps: 0, sampler, plan });
                }
                ForwardState::Failed(why) => return Err(GpuEngineError::Kernels(why.clone())),
                ForwardState::Starting => {}
            }
        }
        Err(GpuEngineError::Kernels(format!("not ready after {STARTING_FRAMES} frames")))
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

    /// How it computes.
    pub fn plan(&self) -> KernelConfig {
        self.plan
    }

    /// Computes a layer of one column in one dispatch from now on, or not.
    pub fn set_fused_layers(&mut self, fused_layers: bool) {
        let mut network = self.app.sub_app_mut(RenderApp).world_mut().resource_mut::<GpuModel>();
        // What watches for changes of the network means another one, on another device.
        let network = network.bypass_change_detection();
        network.fused_layers = fused_layers && network.has_fused_layers();
        self.plan.fused_layers = network.fused_layers;
    }

    /// Runs columns through the model and returns the logits of those that `wanted` names.
    ///
    /// # Errors
    /// The device was lost.
    pub fn logits(&mut self, batch: &Batch, wanted: &[u32]) -> Result<Vec<Vec<f32>>, EngineError> {
        let size = (wanted.len() * self.stride * 4) as u64;
        let bytes = self.run(batch, wanted, &[], |network| (&network.buffers.logits, size))?;
        let numbers: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        Ok(numbers.chunks_exact(self.stride).map(|row| row[..self.vocab].to_vec()).collect())
    }

    /// Runs a batch and reads the first bytes of a buffer afterwards.
    fn run(
        &mut self,
        batch: &Batch,
        wanted: &[u32],
        draws: &[LogitsQuery],
        read: impl Fn(&GpuModel) -> (&Buffer, u64),
    ) -> Result<Vec<u8>, EngineError> {
        self.submit(batch, wanted, draws)?;
        let (barriers, bytes) = self.read(&read)?;
        if barriers == 0 {
            return Ok(bytes);
        }
        let (failed, slow) = (barriers & 0xFFFF, barriers >> 16);
        let (network, _, queue) = self.network();
        queue.write_buffer(&network.buffers.barriers, 0, &[0; 4]);
        if failed > 0 || slow > MOST_SLOW_BARRIERS {
            bevy::log::debug!(
                "{failed} barriers failed and {slow} took long: no more fused layers"
            );
            self.set_fused_layers(false);
        }
        if failed == 0 {
            return Ok(bytes);
        }
        // Nothing that was computed counts, but everything that it began with is there still.
        self.submit(batch, wanted, draws)?;
        Ok(self.read(&read)?.1)
    }

    /// What barriers came to since this was last asked, and the first bytes of a buffer.
    fn read(
        &self,
        read: &impl Fn(&GpuModel) -> (&Buffer, u64),
    ) -> Result<(u32, Vec<u8>), EngineError> {
        let (network, device, queue) = self.network();
        let [barriers, bytes] =
            read_starts(device, queue, [(&network.buffers.barriers, 4), read(network)])
                .map_err(lost)?;
        Ok((bytemuck::pod_read_unaligned(&barriers), bytes))
    }

    fn submit(
        &mut self,
        batch: &Batch,
        wanted: &[u32],
        draws: &[LogitsQuery],
    ) -> Result<(), EngineError> {
        let repeats = if draws.is_empty() { 1 } else { u64::from(batch.repeats.max(1)) };
        let too_many = batch.columns.len() > self.sizes.columns as usize;
        let outside = batch.columns.iter().any(|column| {
            column.slot >= self.sizes.slots
                || u64::from(column.position) + repeats > u64::from(self.sizes.context)
                || column.token as usize >= self.vocab
        });
        if too_many || outside || repeats > u64::from(self.sizes.repeats) {
            let what =
                format!("a batch of {} columns does not fit {:?}", batch.columns.len(), self.sizes);
            return Err(EngineError::Other(what.into()));
        }
        self.write_columns(batch, wanted);
        let (network, _, queue) = self.network();
        write_draws(network, queue, draws);
        let copies = batch
            .copies
            .iter()
            .map(|copy| Copy { from: copy.from, to: copy.to, positions: copy.positions })
            .collect();
        let tokens = batch.columns.iter().map(|column| column.token).collect();
        let (columns, wanted) = (batch.columns.len() as u32, wanted.len() as u32);
        self.run_step(
            Step { copies, columns, wanted, sample: sampling_mode(draws), tokens, only: None },
            repeats,
        )
    }

    /// Writes the columns of the next step, and which of them want logits.
    fn write_columns(&self, batch: &Batch, wanted: &[u32]) {
        let word = |column: &Column| {
            [column.token, column.position, column.slot * self.sizes.rows(), NO_LOGITS]
        };
        let columns: Vec<[u32; 4]> = batch.columns.iter().map(word).collect();
        let (network, _, queue) = self.network();
        queue.write_buffer(&network.buffers.columns, 0, bytemuck::cast_slice(&columns));
        queue.write_buffer(&network.buffers.wanted, 0, bytemuck::cast_slice(wanted));
    }

    fn run_step(&mut self, step: Step, repeats: u64) -> Result<(), EngineError> {
        self.app.sub_app_mut(RenderApp).world_mut().insert_resource(step);
        self.steps += repeats;
        self.app.world_mut().resource_mut::<ForwardRequest>().steps = self.steps;
        // The status is that after the frame before, so the first frame may already have done it
        // all.
        for _ in 0..STARTING_FRAMES {
            self.app.update();
            let status = self.app.sub_app(RenderApp).world().resource::<ForwardStatus>();
            if status.steps_done >= self.steps {
                return self.streamed_well();
            }
            if let ForwardState::Failed(why) = &status.state {
                return Err(EngineError::Other(
                    format!("the GPU kernels do not compile: {why}").into(),
                ));
            }
        }
        Err(EngineError::DeviceLost("the forward pass does not come to an end".into()))
    }

    /// Whether all tiles that the last step needed have come, where they are streamed.
    fn streamed_well(&mut self) -> Result<(), EngineError> {
        let world = self.app.sub_app_mut(RenderApp).world_mut();
        let failure = world.resource_mut::<StreamFailure>().bypass_change_detection().0.take();
        failure.map_or(Ok(()), |error| Err(EngineError::Model(error.to_string())))
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
        let (repeats, vocab) = (batch.repeats.max(1) as usize, self.vocab);
        let words = self.sizes.repeats as usize + 1;
        let size = (wanted.len() * words * 4) as u64;
        let bytes = self
            .run(batch, wanted, &batch.asks, |network| (&network.buffers.sampling.sampled, size))?;
        let drawn: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        let row = |row: &[u32]| {
            let found = row[0] as usize;
            if found != repeats {
                return Err(EngineError::Answers { found, expected: repeats });
            }
            if row[1..=repeats].iter().any(|&token| token as usize >= vocab) {
                return Err(SamplingError::NoCandidate { vocab }.into());
            }
            Ok(row[1..=repeats]
                .iter()
                .map(|&token| Sampled { token, ..Sampled::default() })
                .collect())
        };
        drawn.chunks_exact(words).map(row).collect()
    }
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

fn lost(error: impl std::error::Error) -> EngineError {
    EngineError::DeviceLost(error.to_string())
}

impl Engine for GpuEngine {
    fn capacity(&self) -> Capacity {
        Capacity {
            slots: self.sizes.slots as usize,
            context: self.sizes.context as usize,
            vocab: self.vocab,
            columns: self.sizes.columns as usize,
            repeats: self.sizes.repeats as usize,
        }
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError> {
        // Two asks about one column share its logits.
        let mut wanted: Vec<u32> = batch.asks.iter().map(|ask| ask.column).collect();
        wanted.dedup();
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
        format!("{} ({:?}), {}{streamed}", adapter.name, adapter.backend, self.plan.name())
    }

    fn residency(&self) -> Option<ResidencyMetrics> {
        self.pool().map(|pool| pool.counters().figures())
    }

    fn profile(&mut self, batch: &Batch) -> Result<Option<Profile>, EngineError> {
        profile::profile(self, batch).map(Some)
    }
}
