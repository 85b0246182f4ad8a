//! The engine on the GPU: batches go through the forward pass in a headless app's render graph.
//!
//! Tokens are drawn on the device and fed back there for several steps of one submit. Where log-probabilities are asked for, the
//! logits are read back and the CPU's sampler answers.

mod hooks;

pub use hooks::Hooked;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bevy::{
    app::App,
    render::{
        RenderApp,
        render_resource::PollType,
        renderer::{RenderDevice, RenderQueue},
    },
};

use super::headless::{GpuChoice, GpuError, headless_app, prepare};
use crate::model::PixelModel;
use crate::passes::network::{
    Choice, Copy, MOST_BIASES, MOST_RECENT, NO_LOGITS, Network, NetworkError, NetworkFailure, NetworkModel, NetworkPlugin,
    Sizes, Step,
};
use crate::passes::readback::read_buffer;
use crate::passes::{ForwardRequest, ForwardState, ForwardStatus, InterventionsPlugin, PassesPlugin};
use crate::shaders::{ShaderError, ShadersPlugin, load_sources};
use crate::tiles::{TilesPlugin, spawn_model};
use crate::tokens::sampling::{Sampler, SamplingError, SamplingWords};
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
        spawn_model(app.world_mut(), &model);
        let crew = std::env::var("CREW").map_or(2, |c| c.parse().unwrap_or(2));
        let family = crate::passes::kernels::Family::ALL[0];
        app.add_plugins((
            ShadersPlugin { sources: load_sources(std::env::var_os("PIXEL_LLM_SHADERS").map(std::path::PathBuf::from).as_deref())? },
            PassesPlugin,
            NetworkPlugin { model: NetworkModel { model, sizes, family, crew } },
            (TilesPlugin, InterventionsPlugin),
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
        self.run(batch, wanted, &[], 1)?;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let (network, device, queue) = self.network();
        let bytes = read_buffer(device, queue, &network.buffers.logits).map_err(other)?;
        let numbers: &[f32] = bytemuck::cast_slice(&bytes);
        let row = |index: usize| numbers[index * self.stride..][..self.vocab].to_vec();
        Ok((0..wanted.len()).map(row).collect())
    }

    fn run(&mut self, batch: &Batch, wanted: &[u32], draws: &[Ask], repeats: u64) -> Result<(), EngineError> {
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
        write_draws(network, queue, draws);
        let copies = batch
            .copies
            .iter()
            .map(|copy| Copy { from: copy.from, to: copy.to, positions: copy.positions })
            .collect();
        let step = Step { copies, columns: columns.len() as u32, wanted: wanted.len() as u32, choose: choice(draws), only: None };
        self.run_step(step, repeats)
    }

    fn run_step(&mut self, step: Step, repeats: u64) -> Result<(), EngineError> {
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

    /// Waits until everything that was asked for is computed.
    pub fn wait(&self) {
        let (_, device, _) = self.network();
        if let Err(error) = device.poll(PollType::wait_indefinitely()) {
            bevy::log::warn!("waiting for the GPU: {error}");
        }
    }

    /// What each kernel takes for one step of so many columns, one after the other.
    pub fn profile_kernels(&mut self, columns: u32) -> Vec<(&'static str, usize, Duration)> {
        let places: Vec<[u32; 4]> = (0..columns).map(|column| [1, 64 + column, 0, NO_LOGITS]).collect();
        let wanted: Vec<u32> = (0..columns.min(8)).collect();
        let kernels = self.network().0.kernels(columns);
        kernels
            .into_iter()
            .map(|(name, count)| {
                let mut times: Vec<Duration> = (0..5)
                    .map(|_| {
                        let (network, _, queue) = self.network();
                        queue.write_buffer(&network.buffers.columns, 0, bytemuck::cast_slice(&places));
                        queue.write_buffer(&network.buffers.wanted, 0, bytemuck::cast_slice(&wanted));
                        let step = Step { columns, wanted: wanted.len() as u32, choose: Choice::Greedy, only: Some(name), ..Step::default() };
                        let start = Instant::now();
                        // A failure shows in what is run next.
                        let _ = self.run_step(step, 1);
                        self.wait();
                        start.elapsed()
                    })
                    .collect();
                times.sort();
                (name, count, times[2])
            })
            .collect()
    }

    fn drawn(&self, asks: usize, repeats: usize) -> Result<Vec<Vec<Sampled>>, EngineError> {
        let (network, device, queue) = self.network();
        let bytes = read_buffer(device, queue, &network.buffers.sampling.drawn).map_err(other)?;
        let words: &[u32] = bytemuck::cast_slice(&bytes);
        let rows = words.chunks_exact(self.sizes.repeats as usize + 1).take(asks);
        let row = |row: &[u32]| {
            let found = row[0] as usize;
            if found != repeats {
                return Err(EngineError::Answers { found, expected: repeats });
            }
            if row[1..=repeats].iter().any(|&token| token as usize >= self.vocab) {
                return Err(SamplingError::NoCandidate { vocab: self.vocab }.into());
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

/// Whether the device can answer by itself: a draw within the sizes of its buffers, and nothing about it.
fn draws_on_device(ask: &Ask) -> bool {
    let AskKind::Draw { window, window_limit, bias, .. } = &ask.kind else { return false };
    let most = MOST_RECENT as usize;
    let fits = window.len() <= most && *window_limit as usize <= most && bias.len() <= MOST_BIASES as usize;
    fits && !ask.logprob && ask.top == 0
}

/// How all the draws of a step are made.
fn choice(draws: &[Ask]) -> Choice {
    let is_greedy = |ask: &Ask| match &ask.kind {
        AskKind::Draw { words, window, bias, .. } => {
            words.temperature <= 0.0 && window.is_empty() && bias.is_empty()
        }
        AskKind::Score { .. } => false,
    };
    match draws {
        [] => Choice::None,
        _ if draws.iter().all(is_greedy) => Choice::Greedy,
        _ => Choice::Chain,
    }
}

/// Writes how each row of logits is to be drawn from.
fn write_draws(network: &Network, queue: &RenderQueue, draws: &[Ask]) {
    let (buffers, stride) = (&network.buffers.sampling, network.sizes.recent_stride());
    let zeros = vec![0u32; draws.len() * (network.sizes.repeats as usize + 1)];
    let mut all_words = Vec::with_capacity(draws.len());
    for (row, ask) in (0..).zip(draws) {
        let AskKind::Draw { words, window, window_limit, bias } = &ask.kind else { continue };
        let (window_start, bias_start) = (row * stride, row * MOST_BIASES);
        if !window.is_empty() {
            queue.write_buffer(&buffers.recent, u64::from(window_start) * 4, bytemuck::cast_slice(window));
        }
        if !bias.is_empty() {
            let pairs: Vec<[u32; 2]> = bias.iter().map(|&(token, bias)| [token, bias.to_bits()]).collect();
            queue.write_buffer(&buffers.biases, u64::from(bias_start) * 8, bytemuck::cast_slice(&pairs));
        }
        all_words.push(SamplingWords {
            window_start,
            window_len: window.len() as u32,
            bias_start,
            bias_len: bias.len() as u32,
            window_limit: *window_limit,
            ..*words
        });
    }
    queue.write_buffer(&buffers.drawn, 0, bytemuck::cast_slice(&zeros));
    queue.write_buffer(&buffers.words, 0, bytemuck::cast_slice(&all_words));
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
        let repeats = batch.repeats.max(1);
        if !wanted.is_empty() && wanted.len() == batch.asks.len() && batch.asks.iter().all(draws_on_device) {
            self.run(batch, &wanted, &batch.asks, u64::from(repeats))?;
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
