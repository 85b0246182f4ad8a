//! Training on the processor: the twins of the backward kernels, on the tiles as they lie in the
//! file.
//!
//! A step is cut into micro-steps of whole sequences. Of each the residual stream at every layer's
//! entrance is kept; what a layer computed within is kept for the last layers as far as memory
//! goes, and computed again for the others. Sums are made in one order, whatever the number of
//! threads.

mod attention;
mod head;
mod layer;
mod low_rank;
mod micro_step;
mod network;
mod norm;
mod product;
mod rows;

use std::sync::Arc;

pub(super) use head::CHUNK as LOGIT_COLUMNS;
use head::{HeadScratch, LossHead};
use layer::{Activations, LayerPass, Scratch};
use micro_step::MicroStep;
use network::Network;
pub(super) use network::tensor_weights;
use product::Dropout;

use super::{
    LossSum, Sequence, StepReport, TrainError, Trained, Trainer, TrainerState, TrainingSettings,
    start,
};
use crate::forward::Interventions;
use crate::forward::cpu::activations::Panels;
use crate::forward::cpu::awake::awake;
use crate::forward::cpu::embed::embed;
use crate::forward::params::EmbedParams;
use crate::model::{Adapter, PixelModel};

/// Columns of a micro-step, where one sequence is not longer: enough that unpacking a weight costs
/// little per column, few enough that a layer's activations stay small.
pub(super) const COLUMNS: usize = 512;

/// Trains on the processor.
#[derive(Debug)]
pub struct CpuTrainer {
    network: Network,
    settings: TrainingSettings,
    step: u64,
    interventions: Interventions,
    /// Layers, counted from the last, whose activations are kept.
    kept_layers: usize,
    room: TrainerRoom,
}

/// What is used over and over.
#[derive(Debug, Default)]
struct TrainerRoom {
    residual: Panels,
    entrances: Vec<Panels>,
    activations: Vec<Activations>,
    scratch: Scratch,
    head: HeadScratch,
    gradient: Panels,
}

impl CpuTrainer {
    /// A trainer at its first step; `start` is an adapter to go on from.
    ///
    /// # Errors
    /// The settings do not fit the model.
    pub fn new(
        model: Arc<PixelModel>,
        settings: &TrainingSettings,
        start: Option<&Adapter>,
    ) -> Result<Self, TrainError> {
        let parameters = start::parameters(&model, settings, start)?;
        let kept_layers = model.config().layer_count as usize;
        Ok(Self {
            network: Network::new(model, settings, parameters)?,
            settings: settings.clone(),
            step: 0,
            interventions: Interventions::default(),
            kept_layers,
            room: TrainerRoom::default(),
        })
    }

    /// Keeps the activations of so many layers, counted from the last; the others are computed
    /// again on the way back. What is learnt is the same.
    #[must_use]
    pub fn keeping(mut self, layers: usize) -> Self {
        self.kept_layers = layers;
        self
    }

    /// Trains with these factors of heads and layers.
    #[must_use]
    pub fn with_interventions(mut self, interventions: Interventions) -> Self {
        self.interventions = interventions;
        self
    }

    /// What has been learnt, where an adapter is trained.
    pub fn adapter(&self) -> Option<Adapter> {
        start::adapter(&self.network.model, &self.settings, &self.network.parameters)
    }

    /// Gradients of the last step, in the order of the state's parameters, before clipping.
    pub fn gradients(&self) -> impl Iterator<Item = (&str, &[f32])> {
        let names = self.network.parameters.iter().map(|parameter| parameter.name.as_str());
        names.zip(self.network.gradients.iter().map(Vec::as_slice))
    }

    /// The first layer below which nothing is trained.
    fn first_layer(&self) -> usize {
        match self.settings.what {
            Trained::Full => 0,
            Trained::Lora(_) => {
                let is_trained =
                    |layer: &network::TrainedLayer| layer.updates.iter().any(Option::is_some);
                let layers = &self.network.layers;
                layers.iter().position(is_trained).unwrap_or(layers.len())
            }
        }
    }

    fn dropout(&self, is_training: bool) -> Dropout {
        let share = match &self.settings.what {
            Trained::Lora(lora) if is_training => lora.dropout,
            _ => 0.0,
        };
        Dropout { share, seed: self.settings.seed, step: self.step as u32 + 1 }
    }

    /// The forward pass of a batch: the residual stream after the last layer is in the room. Keeps
    /// what the way back needs, if there is one.
    fn forward(
        &mut self,
        batch: &MicroStep,
        is_training: bool,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), TrainError> {
        let dropout = self.dropout(is_training);
        let (layers, first) = (self.network.layers.len(), self.first_layer());
        let Self { network, interventions, kept_layers, room, .. } = self;
        let matrix = network.matrix(&network.embedding);
        let params = EmbedParams {
            matrix: matrix.params(),
            columns: batch.columns.len() as u32,
            padding: [0; 3],
        };
        embed(&params, matrix.bytes(), &batch.columns, &mut room.residual);
        room.entrances.resize_with(layers, Panels::default);
        room.activations.resize_with((*kept_layers).clamp(1, layers.max(1)), Activations::default);
        for layer in 0..layers {
            if stop() {
                return Err(TrainError::Stopped);
            }
            let pass = LayerPass { network, layer, batch, interventions, dropout };
            if is_training && layer >= first {
                room.entrances[layer].clone_from(&room.residual);
            }
            let place = room.activations.len();
            let kept = &mut room.activations[layer % place];
            pass.forward(&mut room.residual, kept, &mut room.scratch);
        }
        Ok(())
    }

    /// The way back through the layers, from the gradient that is in the room.
    fn back(
        &mut self,
        batch: &MicroStep,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), TrainError> {
        let dropout = self.dropout(true);
        let (layers, first) = (self.network.layers.len(), self.first_layer());
        let mut sums = std::mem::take(&mut self.network.gradients);
        let Self { network, interventions, room, .. } = self;
        let places = room.activations.len();
        let mut result = Ok(());
        for layer in (first..layers).rev() {
            if stop() {
                result = Err(TrainError::Stopped);
                break;
            }
            let pass = LayerPass { network, layer, batch, interventions, dropout };
            let kept = &mut room.activations[layer % places];
            // Of the layers before the last ones, what was kept is overwritten by now.
            if layer + places < layers {
                room.residual.clone_from(&room.entrances[layer]);
                pass.forward(&mut room.residual, kept, &mut room.scratch);
            }
            let is_first = layer == first && self.settings.what != Trained::Full;
            let entrance = &room.entrances[layer];
            let sums = (&mut sums[..], is_first);
            pass.back(entrance, kept, &mut room.gradient, &mut room.scratch, sums);
        }
        if let (Ok(()), Some(parameter)) = (&result, network.parameter_of(&network.embedding)) {
            let width = room.gradient.features();
            // Columns one after another: the sum of a token's rows has one order.
            for (index, column) in batch.columns.iter().enumerate() {
                let row = &mut sums[parameter][column.token as usize * width..][..width];
                let values = room.gradient.column(index).flatten();
                row.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
        }
        self.network.gradients = sums;
        result
    }

    fn batches(&self, sequences: &[Sequence]) -> Vec<MicroStep> {
        let (mut batches, mut start, mut before) = (Vec::new(), 0, 0);
        while start < sequences.len() {
            let mut columns = 0;
            let fits = |sequence: &&Sequence| {
                columns += sequence.columns();
                columns <= COLUMNS
            };
            let end = start + sequences[start..].iter().take_while(fits).count().max(1);
            let batch =
                MicroStep::new(&sequences[start..end], start, before, &self.network.rotation);
            before += batch.columns.len();
            batches.push(batch);
            start = end;
        }
        batches
    }

    fn check(&self, sequences: &[Sequence]) -> Result<(), TrainError> {
        let vocab_size = self.network.model.config().vocab_size;
        for (index, sequence) in sequences.iter().enumerate() {
            if sequence.tokens.len() < 2 || sequence.tokens.len() != sequence.is_target.len() {
                return Err(TrainError::Model(format!(
                    "sequence {index} of the step has {} tokens and {} marks: a sequence has two \
                     tokens or more, and a mark for each",
                    sequence.tokens.len(),
                    sequence.is_target.len()
                )));
            }
            if let Some(token) = sequence.tokens.iter().find(|token| **token >= vocab_size) {
                return Err(TrainError::Model(format!(
                    "sequence {index} of the step has token {token}: the model has {vocab_size}"
                )));
            }
        }
        Ok(())
    }

    /// Gradients of the mean loss, in the network; the sum of losses.
    fn gradient(
        &mut self,
        sequences: &[Sequence],
        total: f64,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<f64, TrainError> {
        self.network.gradients.iter_mut().for_each(|gradient| gradient.fill(0.0));
        let mut sum = 0.0;
        for batch in &self.batches(sequences) {
            if stop() {
                return Err(TrainError::Stopped);
            }
            self.forward(batch, true, stop)?;
            let mut sums = std::mem::take(&mut self.network.gradients);
            let Self { network, room, .. } = self;
            let head = LossHead { network, batch, total };
            let back = Some((&mut room.gradient, &mut sums[..]));
            let loss = head.loss(&room.residual, &mut room.head, back);
            self.network.gradients = sums;
            sum += loss?;
            self.back(batch, stop)?;
        }
        Ok(sum)
    }
}

impl Trainer for CpuTrainer {
    fn step(
        &mut self,
        sequences: &[Sequence],
        rate: f32,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<StepReport, TrainError> {
        self.check(sequences)?;
        let weight = |sequence: &Sequence| f64::from(sequence.weight) * sequence.targets() as f64;
        let total: f64 = sequences.iter().map(weight).sum();
        if total <= 0.0 {
            return Err(TrainError::Model("no token of the step is a target".into()));
        }
        let sum = awake(|| self.gradient(sequences, total, stop))?;
        let gradient_norm = self.network.gradient_norm();
        if !gradient_norm.is_finite() {
            return Err(TrainError::Gradient(gradient_norm));
        }
        let optimizer = self.settings.optimizer;
        self.step += 1;
        self.network.update(&optimizer, rate, self.step, optimizer.clip_factor(gradient_norm));
        Ok(StepReport::new(sum / total, gradient_norm, sequences))
    }

    fn loss(
        &mut self,
        sequences: &[Sequence],
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<LossSum, TrainError> {
        self.check(sequences)?;
        let mut loss = LossSum::default();
        for batch in &self.batches(sequences) {
            if stop() {
                return Err(TrainError::Stopped);
            }
            let sum = awake(|| {
                self.forward(batch, false, stop)?;
                let Self { network, room, .. } = &mut *self;
                LossHead { network, batch, total: 1.0 }.loss(&room.residual, &mut room.head, None)
            });
            loss.sum += sum?;
            loss.weight += batch.targets.iter().map(|of| f64::from(of.weight)).sum::<f64>();
        }
        Ok(loss)
    }

    fn state(&mut self) -> Result<TrainerState, TrainError> {
        Ok(TrainerState { step: self.step, parameters: self.network.parameters.clone() })
    }

    fn restore(&mut self, state: TrainerState) -> Result<(), TrainError> {
        let found = &self.network.parameters;
        if state.parameters.len() != found.len() {
            let (of_state, of_run) = (state.parameters.len(), found.len());
            return Err(TrainError::State(format!("{of_state} tensors for {of_run}")));
        }
        for (new, old) in state.parameters.iter().zip(found) {
            let is_whole = [&new.values, &new.first, &new.second]
                .iter()
                .all(|numbers| numbers.len() == old.values.len());
            if (&new.name, new.rows, new.columns) != (&old.name, old.rows, old.columns) || !is_whole
            {
                return Err(TrainError::State(format!(
                    "{} of {} x {} for {} of {} x {}",
                    new.name, new.rows, new.columns, old.name, old.rows, old.columns
                )));
            }
        }
        self.step = state.step;
        self.network.parameters = state.parameters;
        self.network.take_up();
        Ok(())
    }
}
