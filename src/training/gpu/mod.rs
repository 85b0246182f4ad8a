//! Training on an adapter: the backward pass as kernels that read the very page textures that
//! answer.
//!
//! In: a [`PixelModel`], an [`Adapter`] to begin with, sequences. Out: what [`Trainer`] gives. The
//! shaders are those of `shaders/training`; the specification is `specs/training.md`.

mod device;
pub mod kernels;
mod layer;
mod learn;
pub mod params;
mod pass;
mod places;
mod program;
mod under_way;
mod vectors;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bevy::ecs::world::World;

use self::device::{Learner, LearnerOpening, open_headless};
use self::kernels::BackShape;
pub use self::learn::{LearnPlugin, LearnSystems, Learning, LearningReport};
use self::pass::passes;
use self::program::adamw_params;
use self::under_way::Grain;
pub use self::under_way::StepUnderWay;
use super::{
    LossSum, Parameter, Sequence, StepReport, TrainError, Trained, Trainer, TrainerState,
    TrainingSettings, start,
};
use crate::engine::gpu::headless::GpuChoice;
use crate::forward::gpu::model::GpuModel;
use crate::model::PixelModel;
use crate::model::adapter::Adapter;
use crate::residency::compute::Pool;

/// All numbers that kernels write.
#[derive(Debug, Clone)]
pub struct LearnerNumbers {
    /// Activations and their gradients.
    pub activations: Vec<f32>,
    /// What is trained, its gradient and both moments.
    pub trained: Vec<f32>,
    /// Losses of wanted columns, then sums of squares.
    pub results: Vec<f32>,
}

/// One dispatch.
#[derive(Debug, Clone, Copy)]
pub struct Dispatched<'a> {
    /// The kernel's name.
    pub name: &'static str,
    /// The bytes of its parameters, one of [`params`].
    pub params: &'a [u8],
    /// All numbers before it.
    pub before: &'a LearnerNumbers,
    /// All numbers after it.
    pub after: &'a LearnerNumbers,
}

/// How a trainer is opened.
#[derive(Debug, Clone, Default)]
pub struct GpuTraining {
    /// The most columns of a pass, and so the longest sequence; a step of more is cut.
    pub columns: u32,
    /// Which adapter of the machine.
    pub choice: GpuChoice,
    /// How `back` shares its work; as usual where it is not said.
    pub shape: Option<BackShape>,
    /// Bytes of activations, as far as fewer will not do: what fits is kept, and the rest is
    /// computed again on the way back. As many as the device holds in one piece where it is not
    /// said.
    pub memory: Option<u64>,
    /// A folder whose shaders stand in for those of the same names.
    pub shaders: Option<PathBuf>,
}

/// Trains on an adapter of the machine.
pub struct GpuTrainer {
    learner: Learner,
    settings: TrainingSettings,
    model: Arc<PixelModel>,
    step: u64,
    stream_gradients: Vec<f32>,
}

/// A trainer whose kernels are being compiled, beside the frames of a window.
pub struct OpeningTrainer {
    opening: LearnerOpening,
    settings: TrainingSettings,
    model: Arc<PixelModel>,
}

impl OpeningTrainer {
    /// The trainer, or what is opened still where its kernels are not compiled yet.
    ///
    /// # Errors
    /// A kernel does not compile.
    pub fn poll(self, world: &World) -> Result<Result<GpuTrainer, Self>, TrainError> {
        let Self { opening, settings, model } = self;
        Ok(match opening.poll(world.resource())? {
            Ok(learner) => Ok(GpuTrainer::begun(learner, settings, model)),
            Err(opening) => Err(Self { opening: *opening, settings, model }),
        })
    }
}

/// What a run begins with, where the kernels can train it.
fn begin_with(
    model: &PixelModel,
    settings: &TrainingSettings,
    start: Option<&Adapter>,
) -> Result<Adapter, TrainError> {
    let Trained::Lora(lora) = &settings.what else {
        return Err(TrainError::Model(
            "all of a model is trained on the processor alone: use --device cpu".into(),
        ));
    };
    if lora.dropout != 0.0 {
        return Err(TrainError::Model(
            "dropout is computed on the processor alone: use --device cpu, or --dropout 0".into(),
        ));
    }
    let parameters = start::parameters(model, settings, start)?;
    start::adapter(model, settings, &parameters)
        .ok_or_else(|| TrainError::Model("there is nothing to train".into()))
}

impl GpuTrainer {
    /// A trainer at its first step; `start` is an adapter to go on from.
    ///
    /// # Errors
    /// There is no device, or the model or the settings do not fit the kernels or the device.
    pub fn new(
        model: Arc<PixelModel>,
        settings: &TrainingSettings,
        start: Option<&Adapter>,
        training: &GpuTraining,
    ) -> Result<Self, TrainError> {
        let adapter = begin_with(&model, settings, start)?;
        let learner = open_headless(&model, (&adapter, settings), training)?;
        Ok(Self::begun(learner, settings.clone(), model))
    }

    fn begun(learner: Learner, settings: TrainingSettings, model: Arc<PixelModel>) -> Self {
        Self { learner, settings, model, step: 0, stream_gradients: Vec::new() }
    }

    /// Begins to open a trainer beside a model that answers on the same device, in the render world
    /// that has it: what it learns on are the pages that are drawn and answer.
    ///
    /// # Errors
    /// As for [`GpuTrainer::new`].
    pub fn open_in(
        world: &World,
        model: Arc<PixelModel>,
        settings: &TrainingSettings,
        start: Option<&Adapter>,
        training: &GpuTraining,
    ) -> Result<OpeningTrainer, TrainError> {
        let adapter = begin_with(&model, settings, start)?;
        // Of a streamed model only some tiles are there.
        let is_whole = !world.contains_resource::<Pool>();
        let answering = world.get_resource::<GpuModel>().filter(|_| is_whole);
        let pages = answering.map(|model| model.pages.clone());
        let opening = LearnerOpening::new(world, pages, &model, (&adapter, settings), training)?;
        Ok(OpeningTrainer { opening, settings: settings.clone(), model })
    }

    /// What has been learnt.
    ///
    /// # Errors
    /// The device does not answer.
    pub fn adapter(&mut self) -> Result<Option<Adapter>, TrainError> {
        let values = self.learner.copy(0)?;
        let parameter = |(name, rows, columns, values): NamedFactor| {
            let (first, second) = (Vec::new(), Vec::new());
            Parameter { name, rows, columns, values, first, second }
        };
        let parameters: Vec<_> = self.learner.adapter.factors(&values).map(parameter).collect();
        Ok(start::adapter(&self.model, &self.settings, &parameters))
    }

    /// Steps made.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The adapter of the machine.
    pub fn device(&self) -> &wgpu::AdapterInfo {
        &self.learner.info
    }

    /// Bytes of activations, and of what is trained with gradients and moments.
    pub fn memory(&self) -> [u64; 2] {
        self.learner.sizes()
    }

    /// The gradient of each factor as the last step left it: name, rows, columns, numbers.
    ///
    /// # Errors
    /// The device does not answer.
    pub fn gradients(&self) -> Result<Vec<(String, usize, usize, Vec<f32>)>, TrainError> {
        let gradients = self.learner.copy(1)?;
        Ok(self.learner.adapter.factors(&gradients).collect())
    }

    /// Norms of the gradient of the residual stream over all columns of the last step: at the
    /// entrance of each layer, then behind the last one. Zero where the way back did not come to:
    /// it ends at the lowest layer that is trained. Empty before the first step.
    pub fn stream_gradients(&self) -> &[f32] {
        &self.stream_gradients
    }

    /// Norms and biases as the kernels have them.
    pub fn vectors(&self) -> &[f32] {
        &self.learner.vectors
    }

    /// Makes the dispatches of a step one by one, each shown with all numbers before and after it.
    /// Nothing is learnt but what AdamW makes of the gradient, at rate 1.
    ///
    /// # Errors
    /// The sequences do not fit one pass, or the device does not answer.
    pub fn watch(
        &mut self,
        sequences: &[Sequence],
        see: &mut dyn FnMut(&Dispatched<'_>),
    ) -> Result<(), TrainError> {
        self.check(sequences)?;
        let (learner, program) = (&self.learner, &self.learner.program);
        let pass = &passes(sequences, learner.columns as usize, 1.0)[0];
        let (columns, wanted) = (pass.columns(), pass.wanted.len() as u32);
        learner.write_pass(pass, true);
        let adamw = adamw_params(learner.adapter.quads, &self.settings.optimizer, 1.0, 1, 0.5);
        learner.write_params(&program.adamw, &adamw);
        let update = [program.gradient_norm, program.adamw];
        let mut before = learner.numbers()?;
        let pieces = program.pieces(true).into_iter().chain([("training:update", &update[..])]);
        for (label, ops) in pieces {
            for op in ops {
                learner.play(label, [op], columns, wanted);
                let after = learner.numbers()?;
                let is_adamw = op.offset == program.adamw.offset;
                let params =
                    if is_adamw { bytemuck::bytes_of(&adamw) } else { program.params_of(op) };
                let name = learner.names[op.kernel.index()];
                see(&Dispatched { name, params, before: &before, after: &after });
                before = after;
            }
        }
        Ok(())
    }

    /// How long each kernel of a pass takes, and how many dispatches it has: kernel by kernel, each
    /// with all its dispatches on whatever numbers are there.
    ///
    /// # Errors
    /// The sequences do not fit, or the device does not answer.
    pub fn kernel_times(
        &self,
        sequences: &[Sequence],
    ) -> Result<Vec<(&'static str, Duration, usize)>, TrainError> {
        self.check(sequences)?;
        let (learner, program) = (&self.learner, &self.learner.program);
        let pass = &passes(sequences, learner.columns as usize, 1.0)[0];
        learner.write_pass(pass, true);
        let ops: Vec<_> = program.pieces(true).into_iter().flat_map(|(_, ops)| ops).collect();
        let mut times = Vec::new();
        for (index, name) in learner.names.iter().enumerate() {
            let own = ops.iter().filter(|op| op.kernel.index() == index);
            let own: Vec<_> = own.copied().collect();
            learner.wait()?;
            let started = Instant::now();
            let wanted = pass.wanted.len() as u32;
            learner.play("training:timed", own.iter().copied(), pass.columns(), wanted);
            learner.wait()?;
            times.push((*name, started.elapsed(), own.len()));
        }
        Ok(times)
    }

    fn check(&self, sequences: &[Sequence]) -> Result<(), TrainError> {
        let most = self.learner.columns as usize;
        for (index, sequence) in sequences.iter().enumerate() {
            let count = sequence.columns();
            if count > most {
                return Err(TrainError::Model(format!(
                    "sequence {index} of the step has {count} columns; a pass has {most}: \
                     raise --context, or use --truncate"
                )));
            }
            let foreign =
                sequence.tokens.iter().find(|token| **token >= self.model.config().vocab_size);
            if let Some(token) = foreign {
                return Err(TrainError::Model(format!("the model has no token {token}")));
            }
        }
        Ok(())
    }

    /// Runs all sequences; the sum of losses times weights, and of weights.
    fn run(
        &self,
        sequences: &[Sequence],
        learns: bool,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<LossSum, TrainError> {
        self.check(sequences)?;
        let columns = self.learner.columns;
        let mut under_way = StepUnderWay::new(sequences, columns, learns, Grain::Layer)?;
        loop {
            if let Some(sum) = under_way.advance(&self.learner)? {
                return Ok(sum);
            }
            if stop() {
                // What is on its way must not meet what the next step writes.
                self.learner.wait()?;
                return Err(TrainError::Stopped);
            }
        }
    }

    /// Begins a step that is computed dispatch by dispatch, between which frames can be drawn; or
    /// only the losses of its sequences.
    ///
    /// # Errors
    /// The sequences do not fit, or none of their tokens is a target.
    pub fn begin(&self, sequences: &[Sequence], learns: bool) -> Result<StepUnderWay, TrainError> {
        self.check(sequences)?;
        StepUnderWay::new(sequences, self.learner.columns, learns, Grain::Dispatch)
    }

    /// Goes on with a step by one dispatch; gives the losses once all are computed. A step that is
    /// given up leaves nothing behind.
    ///
    /// # Errors
    /// A loss is no number, or the device does not answer.
    pub fn go_on(&self, step: &mut StepUnderWay) -> Result<Option<LossSum>, TrainError> {
        step.advance(&self.learner)
    }

    /// Ends a step whose losses and gradients are computed: clipping and AdamW.
    ///
    /// # Errors
    /// The gradient is no number, or the device does not answer: nothing is changed then.
    pub fn finish(
        &mut self,
        sequences: &[Sequence],
        losses: LossSum,
        rate: f32,
    ) -> Result<StepReport, TrainError> {
        let gradient_norm = self.gradient_norm()?;
        if !gradient_norm.is_finite() {
            return Err(TrainError::Gradient(gradient_norm));
        }
        let (learner, optimizer) = (&self.learner, &self.settings.optimizer);
        self.step += 1;
        let clip = optimizer.clip_factor(gradient_norm);
        let params = adamw_params(learner.adapter.quads, optimizer, rate, self.step, clip);
        learner.write_params(&learner.program.adamw, &params);
        learner.play("training:adamw", [&learner.program.adamw], 0, 0);
        Ok(StepReport::new(losses.mean(), gradient_norm, sequences))
    }

    /// The norm of the gradient, which is on the device.
    fn gradient_norm(&mut self) -> Result<f64, TrainError> {
        let (learner, program) = (&self.learner, &self.learner.program);
        learner.play("training:norm", [&program.gradient_norm], 0, 0);
        let (first, count) = program.norm_results;
        let squares = learner.results(first, count + program.stream_results.1)?;
        let norm = |squares: &[f32]| squares.iter().map(|it| f64::from(*it)).sum::<f64>().sqrt();
        let (trained, stream) = squares.split_at(count as usize);
        let by_layer = stream.chunks_exact(learner.columns as usize);
        self.stream_gradients = by_layer.map(|columns| norm(columns) as f32).collect();
        Ok(norm(trained))
    }
}

impl Trainer for GpuTrainer {
    fn step(
        &mut self,
        sequences: &[Sequence],
        rate: f32,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<StepReport, TrainError> {
        let sum = self.run(sequences, true, stop)?;
        self.finish(sequences, sum, rate)
    }

    fn loss(
        &mut self,
        sequences: &[Sequence],
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<LossSum, TrainError> {
        self.run(sequences, false, stop)
    }

    fn state(&mut self) -> Result<TrainerState, TrainError> {
        let copies = self.learner.copies()?;
        let adapter = &self.learner.adapter;
        let values = adapter.factors(&copies[0]);
        let moments = adapter.factors(&copies[2]).zip(adapter.factors(&copies[3]));
        let parameter =
            |((name, rows, columns, values), (first, second)): (_, (NamedFactor, NamedFactor))| {
                Parameter { name, rows, columns, values, first: first.3, second: second.3 }
            };
        Ok(TrainerState {
            step: self.step,
            parameters: values.zip(moments).map(parameter).collect(),
        })
    }

    fn restore(&mut self, state: TrainerState) -> Result<(), TrainError> {
        let adapter = &self.learner.adapter;
        let copy = |of: fn(&Parameter) -> &[f32]| {
            let parameters = state.parameters.iter();
            let tensors = parameters.map(|p| (p.name.as_str(), p.rows, p.columns, of(p)));
            let tensors: Vec<_> = tensors.collect();
            adapter.laid_out(&tensors).map_err(TrainError::State)
        };
        let copies = [copy(|p| &p.values)?, copy(|p| &p.first)?, copy(|p| &p.second)?];
        for (place, numbers) in [0, 2, 3].into_iter().zip(&copies) {
            self.learner.write_copy(place, numbers);
        }
        self.step = state.step;
        Ok(())
    }
}

/// A factor: its name, rows, columns and numbers.
type NamedFactor = (String, usize, usize, Vec<f32>);
