//! The engine on the CPU: the reference forward pass, and the sampler on its logits.

use rayon::prelude::*;

use super::engine::{Ask, Batch, Capacity, Engine, EngineError, Sampled, answer};
use super::sampling::Sampler;
use crate::passes::reference::{Column, Controls, CpuModel, ForwardError, KvCache};

/// The most columns of a pass: enough that reading the weights costs little per column, few enough that the
/// answers that are running do not wait long for a prompt.
const COLUMNS: usize = 128;

/// A model on the CPU with places for some sequences.
#[derive(Debug)]
pub struct CpuEngine {
    model: CpuModel,
    cache: KvCache,
    controls: Controls,
    /// One for each thread.
    samplers: Vec<Sampler>,
}

impl CpuEngine {
    /// An engine for `slots` sequences of up to `context` positions.
    pub fn new(model: CpuModel, slots: usize, context: usize) -> Self {
        let cache = KvCache::new(model.config(), slots, context);
        let samplers = (0..rayon::current_num_threads()).map(|_| Sampler::default()).collect();
        Self { model, cache, controls: Controls::default(), samplers }
    }

    /// The factors by which heads and layers are muted or strengthened, from the next step on.
    pub fn controls_mut(&mut self) -> &mut Controls {
        &mut self.controls
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
            columns: COLUMNS.max(self.cache.slots()),
            repeats: 1,
        }
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError> {
        for copy in &batch.copies {
            self.cache.copy(copy.from as usize, copy.to as usize);
            self.cache.truncate(copy.to as usize, copy.positions as usize);
        }
        let wants_logits = batch.wants_logits();
        let columns: Vec<Column> = batch
            .columns
            .iter()
            .zip(&wants_logits)
            .map(|(column, &wants_logits)| Column {
                token: column.token,
                slot: column.slot,
                position: column.position,
                wants_logits,
            })
            .collect();
        let logits = self.model.forward(&mut self.cache, &columns, &self.controls, None)?;
        let pieces = batch.asks.chunks(batch.asks.len().div_ceil(self.samplers.len()).max(1));
        let answers: Result<Vec<Vec<Vec<Sampled>>>, EngineError> = self
            .samplers
            .par_iter_mut()
            .zip(pieces.collect::<Vec<_>>())
            .map(|(sampler, asks)| {
                let one = |ask: &Ask| {
                    let row = logits.column(ask.column as usize).expect("every ask's column wanted logits");
                    Ok(vec![answer(sampler, row, ask)?])
                };
                asks.iter().map(one).collect()
            })
            .collect();
        answers.map(|pieces| pieces.into_iter().flatten().collect())
    }
}
