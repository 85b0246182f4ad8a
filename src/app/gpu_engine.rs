//! The engine on the GPU: batches go through the forward pass in a headless app's render graph.
//!
//! Greedy draws without penalties, biases or log-probabilities are made on the device and fed back there for several tokens; for anything else
//! the logits are read back and the CPU's sampler answers.

use std::sync::Arc;

use bevy::{
    app::App,
    render::{
        RenderApp,
        renderer::{RenderDevice, RenderQueue},
    },
};

use super::headless::{GpuChoice, GpuError, headless_app, prepare};
use crate::model::PixelModel;
use crate::passes::network::{
    Copy, NO_LOGITS, Network, NetworkError, NetworkFailure, NetworkModel, NetworkPlugin, Sizes, Step,
};
use crate::passes::readback::read_buffer;
use crate::passes::{ForwardRequest, ForwardState, ForwardStatus, PassesPlugin};
use crate::shaders::{ShaderError, ShadersPlugin, load_sources};
use crate::tokens::sampling::Sampler;
use crate::tokens::{Ask, AskKind, Batch, Capacity, Engine, EngineError, Sampled, answer};

/// The most columns of a step.
const COLUMNS: u32 = 64;
/// The most tokens drawn on the device before they are read back.
const REPEATS: u32 = 16;
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
    Network(#[from] NetworkError),
    /// A kernel does not compile.
    #[error("the GPU kernels do not compile: {0}")]
    Kernels(String),
}

/// A model on the GPU with places for some sequences.
pub struct GpuEngine {
    app: App,
    sizes: Sizes,
    vocab: usize,
    stride: usize,
    steps: u64,
    sampler: Sampler,
}

impl GpuEngine {
    /// An engine for `slots` sequences of up to `context` positions.
    ///
    /// # Errors
    /// There is no adapter, or the model does not fit what the kernels and the device can do.
    pub fn new(
        model: Arc<PixelModel>,
        slots: usize,
        context: usize,
        choice: &GpuChoice,
    ) -> Result<Self, GpuEngineError> {
        let vocab = model.config().vocab_size as usize;
        let (slots, context) = (slots as u32, context as u32);
        let sizes = Sizes { slots, context, columns: COLUMNS.max(slots), repeats: REPEATS };
        let mut app = headless_app(choice)?;
        app.add_plugins((
            ShadersPlugin { sources: load_sources(None)? },
            PassesPlugin,
            NetworkPlugin { model: NetworkModel { model, sizes } },
        ));
        prepare(&mut app);
        for _ in 0..STARTING_FRAMES {
            app.update();
            let failure = app.sub_app_mut(RenderApp).world_mut().resource_mut::<NetworkFailure>().0.take();
            if let Some(error) = failure {
                return Err(error.into());
            }
            match &app.world().resource::<ForwardStatus>().state {
                ForwardState::Ready => {
                    let stride = network(&app).logits_stride();
                    let sampler = Sampler::default();
                    return Ok(Self { app, sizes, vocab, stride, steps: 0, sampler });
                }
                ForwardState::Failed(why) => return Err(GpuEngineError::Kernels(why.clone())),
                ForwardState::Starting => {}
            }
        }
        Err(GpuEngineError::Kernels(format!("not ready after {STARTING_FRAMES} frames")))
    }

    /// The model on the device, to look at it or change it.
    pub fn network(&self) -> (&Network, &RenderDevice, &RenderQueue) {
        let world = self.app.world();
        (network(&self.app), world.resource::<RenderDevice>(), world.resource::<RenderQueue>())
    }

    /// Runs columns through the model and returns the logits of those that `wanted` names.
    ///
    /// # Errors
    /// The device was lost.
    pub fn logits(&mut self, batch: &Batch, wanted: &[u32]) -> Result<Vec<Vec<f32>>, EngineError> {
        self.run(batch, wanted, false, 1)?;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let (network, device, queue) = self.network();
        let bytes = read_buffer(device, queue, &network.buffers.logits).map_err(other)?;
        let numbers: &[f32] = bytemuck::cast_slice(&bytes);
        let row = |index: usize| numbers[index * self.stride..][..self.vocab].to_vec();
        Ok((0..wanted.len()).map(row).collect())
    }

    fn run(&mut self, batch: &Batch, wanted: &[u32], choose: bool, repeats: u64) -> Result<(), EngineError> {
        let columns: Vec<[u32; 4]> = batch
            .columns
            .iter()
            .map(|column| [column.token, column.position, column.slot * self.sizes.context, NO_LOGITS])
            .collect();
        let too_many = columns.len() > self.sizes.columns as usize;
        let outside = batch.columns.iter().any(|column| {
            column.slot >= self.sizes.slots
                || u64::from(column.position) + repeats > u64::from(self.sizes.context)
                || column.token as usize >= self.vocab
        });
        if too_many || outside {
            let what = format!("a batch of {} columns does not fit {:?}", columns.len(), self.sizes);
            return Err(EngineError::Other(what.into()));
        }
        let (network, _, queue) = self.network();
        queue.write_buffer(&network.buffers.columns, 0, bytemuck::cast_slice(&columns));
        queue.write_buffer(&network.buffers.wanted, 0, bytemuck::cast_slice(wanted));
        if choose {
            let words = wanted.len() * (self.sizes.repeats as usize + 1);
            queue.write_buffer(&network.buffers.drawn, 0, &vec![0; words * 4]);
        }
        let copies = batch
            .copies
            .iter()
            .map(|copy| Copy { from: copy.from, to: copy.to, positions: copy.positions })
            .collect();
        let step = Step { copies, columns: columns.len() as u32, wanted: wanted.len() as u32, choose };
        self.app.sub_app_mut(RenderApp).world_mut().insert_resource(step);
        self.steps += repeats;
        self.app.world_mut().resource_mut::<ForwardRequest>().steps = self.steps;
        // The status is that after the frame before, so the first frame may already have done it all.
        for _ in 0..STARTING_FRAMES {
            self.app.update();
            let done = self.app.sub_app(RenderApp).world().resource::<ForwardStatus>().steps_done;
            if done >= self.steps {
                return Ok(());
            }
        }
        Err(EngineError::DeviceLost("the forward pass does not come to an end".into()))
    }

    fn drawn(&self, asks: usize, repeats: usize) -> Result<Vec<Vec<Sampled>>, EngineError> {
        let (network, device, queue) = self.network();
        let bytes = read_buffer(device, queue, &network.buffers.drawn).map_err(other)?;
        let words: &[u32] = bytemuck::cast_slice(&bytes);
        let rows = words.chunks_exact(self.sizes.repeats as usize + 1).take(asks);
        let row = |row: &[u32]| {
            let found = row[0] as usize;
            if found != repeats {
                return Err(EngineError::Answers { found, expected: repeats });
            }
            Ok(row[1..=repeats].iter().map(|&token| Sampled { token, ..Sampled::default() }).collect())
        };
        rows.map(row).collect()
    }
}

fn network(app: &App) -> &Network {
    app.sub_app(RenderApp).world().resource::<Network>()
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> EngineError {
    EngineError::Other(Box::new(error))
}

/// Whether the device can answer by itself: the most probable token, and nothing about it.
fn is_greedy(ask: &Ask) -> bool {
    let AskKind::Draw { words, window, bias, .. } = &ask.kind else { return false };
    words.temperature <= 0.0 && window.is_empty() && bias.is_empty() && !ask.logprob && ask.top == 0
}

impl Engine for GpuEngine {
    fn capacity(&self) -> Capacity {
        Capacity {
            slots: self.sizes.slots as usize,
            context: self.sizes.context as usize,
            vocab: self.vocab,
            columns: self.sizes.columns as usize,
            repeats: 1,
        }
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError> {
        // Two asks about one column share its logits.
        let mut wanted: Vec<u32> = batch.asks.iter().map(|ask| ask.column).collect();
        wanted.dedup();
        let repeats = batch.repeats.max(1);
        if !wanted.is_empty() && wanted.len() == batch.asks.len() && batch.asks.iter().all(is_greedy) {
            self.run(batch, &wanted, true, u64::from(repeats))?;
            return self.drawn(wanted.len(), repeats as usize);
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
}
