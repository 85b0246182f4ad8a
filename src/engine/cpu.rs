//! The engine on the CPU: the reference forward pass, and the sampler on its logits.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::profile::{EngineProfile, ProfileStage};
use super::{Batch, Capacity, Engine, EngineError, LogitsQuery, Sampled, answer};
use crate::forward::Interventions;
use crate::forward::cpu::{
    CacheType, Column, CpuModel, ForwardError, Kernel, KernelTimings, KvCache, Logits, vectors,
};
use crate::forward::sampling::Sampler;

/// The most columns of a pass: enough that reading the weights costs little per column, few enough
/// that the answers that are running do not wait long for a prompt.
const COLUMNS: usize = 128;

/// A model on the CPU with places for some sequences.
#[derive(Debug)]
pub struct CpuEngine {
    model: CpuModel,
    cache: KvCache,
    interventions: Interventions,
    /// One for each thread.
    samplers: Vec<Sampler>,
}

impl CpuEngine {
    /// An engine for `slots` sequences of up to `context` positions.
    pub fn new(model: CpuModel, slots: usize, context: usize) -> Self {
        Self::of_type(model, slots, context, CacheType::default())
    }

    /// The same with keys and values of a type.
    pub(crate) fn of_type(
        model: CpuModel,
        slots: usize,
        context: usize,
        cache_type: CacheType,
    ) -> Self {
        let cache = KvCache::of_type(model.config(), slots, context, cache_type);
        let samplers = (0..rayon::current_num_threads()).map(|_| Sampler::default()).collect();
        Self { model, cache, interventions: Interventions::default(), samplers }
    }

    /// The factors by which heads and layers are muted or strengthened, from the next step on.
    pub(crate) fn interventions_mut(&mut self) -> &mut Interventions {
        &mut self.interventions
    }

    fn copy_prefixes(&mut self, batch: &Batch) {
        for copy in &batch.copies {
            self.cache.copy(copy.from as usize, copy.to as usize);
            // `copy` takes all positions of the other slot; of a prefix only these count.
            self.cache.truncate(copy.to as usize, copy.positions as usize);
        }
    }

    fn answer_asks(
        &mut self,
        batch: &Batch,
        logits: &Logits,
    ) -> Result<Vec<Vec<Sampled>>, EngineError> {
        // Rounded up: with more pieces than samplers `zip` would drop the rest. At least 1: chunks
        // of 0 panic, and there may be no asks.
        let pieces = batch.asks.chunks(batch.asks.len().div_ceil(self.samplers.len()).max(1));
        let answers: Result<Vec<Vec<Vec<Sampled>>>, EngineError> = self
            .samplers
            .par_iter_mut()
            .zip(pieces.collect::<Vec<_>>())
            .map(|(sampler, asks)| {
                let one = |ask: &LogitsQuery| {
                    let row = logits
                        .column(ask.column as usize)
                        .expect("every ask's column wanted logits");
                    // One answer, since `capacity` says one step.
                    Ok(vec![answer(sampler, row, ask)?])
                };
                asks.iter().map(one).collect()
            })
            .collect();
        answers.map(|pieces| pieces.into_iter().flatten().collect())
    }
}

impl From<ForwardError> for EngineError {
    fn from(error: ForwardError) -> Self {
        match error {
            ForwardError::Model(source) => Self::Model(source.to_string()),
            other => Self::Other(Box::new(other)),
        }
    }
}

impl Engine for CpuEngine {
    fn capacity(&self) -> Capacity {
        Capacity {
            slots: self.cache.slots(),
            context: self.cache.capacity(),
            vocab: self.model.config().vocab_size as usize,
            // Each answer has a column in every step, however many slots there are.
            columns: COLUMNS.max(self.cache.slots()),
            steps: 1,
        }
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError> {
        self.copy_prefixes(batch);
        let logits =
            self.model.forward(&mut self.cache, &columns(batch), &self.interventions, None)?;
        self.answer_asks(batch, &logits)
    }

    fn set_interventions(&mut self, interventions: &Interventions) -> bool {
        self.interventions.clone_from(interventions);
        true
    }

    fn device(&self) -> String {
        let (vectors, threads) = (vectors(), rayon::current_num_threads());
        let plural = if threads == 1 { "" } else { "s" };
        let kept = match self.cache.cache_type() {
            CacheType::F32 => "",
            CacheType::F16 => ", keys and values in F16",
        };
        format!("processor, {threads} thread{plural}, {vectors}{kept}")
    }

    fn profile(&mut self, batch: &Batch) -> Result<Option<EngineProfile>, EngineError> {
        let start = Instant::now();
        self.copy_prefixes(batch);
        let columns = columns(batch);
        let mut laps = KernelTimings::start();
        let logits =
            self.model.forward_timed(&mut self.cache, &columns, &self.interventions, &mut laps)?;
        let choosing = Instant::now();
        self.answer_asks(batch, &logits)?;
        let choose = choosing.elapsed();
        let stage = |kernel: Kernel| {
            let lap = laps.of(kernel);
            // Without a wanted column the output matrix is not read.
            let is_read =
                kernel != Kernel::Logits || columns.iter().any(|column| column.wants_logits);
            let weight_bytes =
                if is_read { self.model.weight_bytes(kernel, columns.len()) } else { 0 };
            ProfileStage { name: kernel.name(), dispatches: lap.runs, time: lap.time, weight_bytes }
        };
        let mut stages: Vec<ProfileStage> = Kernel::ALL.into_iter().map(stage).collect();
        stages.push(sampling_stage(batch, choose));
        Ok(Some(EngineProfile { stages, total: start.elapsed(), passes: 1 }))
    }
}

fn columns(batch: &Batch) -> Vec<Column> {
    let column = |(column, wants_logits): (&super::Column, bool)| Column {
        token: column.token,
        slot: column.slot,
        position: column.position,
        wants_logits,
    };
    batch.columns.iter().zip(batch.wants_logits()).map(column).collect()
}

fn sampling_stage(batch: &Batch, time: Duration) -> ProfileStage {
    let dispatches = u64::from(!batch.asks.is_empty());
    ProfileStage { name: "sample", dispatches, time, weight_bytes: 0 }
}
