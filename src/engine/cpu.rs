//! The engine on the CPU: the reference forward pass, and the sampler on its logits.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::profile::{DeviceLimits, EngineProfile, ProfileStage};
use super::{Batch, Capacity, Engine, EngineError, LogitsQuery, PrefixKey, Sampled, answer};
use crate::forward::cpu::{
    ActivationBits, CacheType, Column, CpuModel, ForwardError, Kernel, KernelTimings, KvCache,
    Logits, ProcessorLimits, vectors,
};
use crate::forward::sampling::Sampler;
use crate::forward::{AdapterSet, Interventions};
use crate::words::counted;

/// The most columns of a pass: enough that reading the weights costs little per column, few enough
/// that the answers that are running do not wait long for a prompt.
const COLUMNS: usize = 128;

/// A model on the CPU with places for some sequences.
#[derive(Debug)]
pub struct CpuEngine {
    model: CpuModel,
    cache: KvCache,
    interventions: Interventions,
    /// What acts on a slot where a batch does not say.
    adapters: AdapterSet,
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
        let (interventions, adapters) = (Interventions::default(), AdapterSet::NONE);
        Self { model, cache, interventions, adapters, samplers }
    }

    /// The same with adapters, out of those of the model, that act wherever a batch does not say
    /// otherwise.
    pub(crate) fn with_adapters(mut self, adapters: AdapterSet) -> Self {
        for slot in 0..self.cache.slots() {
            self.cache.set_adapters(slot, &adapters);
        }
        Self { adapters, ..self }
    }

    /// The factors by which heads and layers are muted or strengthened, from the next step on.
    pub(crate) fn interventions_mut(&mut self) -> &mut Interventions {
        &mut self.interventions
    }

    /// Copies what is to be copied, and gives slots their adapters.
    fn prepare_slots(&mut self, batch: &Batch) {
        for copy in &batch.copies {
            self.cache.copy(copy.from as usize, copy.to as usize);
            // `copy` takes all positions of the other slot; of a prefix only these count.
            self.cache.truncate(copy.to as usize, copy.positions as usize);
        }
        for (slot, adapters) in &batch.adapters {
            let adapters = adapters.as_ref().unwrap_or(&self.adapters);
            self.cache.set_adapters(*slot as usize, adapters);
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
        self.prepare_slots(batch);
        let logits =
            self.model.forward(&mut self.cache, &columns(batch), &self.interventions, None)?;
        self.answer_asks(batch, &logits)
    }

    fn set_interventions(&mut self, interventions: &Interventions) -> bool {
        self.interventions.clone_from(interventions);
        true
    }

    fn prefix_key(&self) -> Option<PrefixKey> {
        // A key would have to say what adapters hold, and nothing here knows their files.
        if !self.adapters.is_empty() {
            return None;
        }
        let config = self.model.config();
        let mut settings = Sha256::new();
        // Another version may sum in another order, and so may other vectors.
        for text in [env!("CARGO_PKG_VERSION"), vectors()] {
            settings.update(text.as_bytes());
            settings.update([0]);
        }
        settings.update(self.model.activation_bits().count().to_le_bytes());
        for factors in [&self.interventions.heads, &self.interventions.layers] {
            settings.update((factors.len() as u64).to_le_bytes());
            factors.iter().for_each(|factor| settings.update(factor.to_bits().to_le_bytes()));
        }
        Some(PrefixKey {
            model: self.model.model().header().root,
            settings: settings.finalize().into(),
            cache_type: self.cache.cache_type(),
            shape: [config.layer_count, config.kv_head_count, config.head_size],
        })
    }

    fn export_prefix(
        &self,
        slot: usize,
        positions: usize,
        stride: usize,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.cache.export(slot, positions, stride, out)
    }

    fn import_prefix(
        &mut self,
        slot: usize,
        positions: usize,
        exported: (usize, usize, &[u8]),
    ) -> bool {
        // First: a slot that gets other adapters forgets what it has.
        self.cache.set_adapters(slot, &self.adapters);
        self.cache.import(slot, positions, exported);
        true
    }

    fn device(&self) -> String {
        let (vectors, threads) = (vectors(), rayon::current_num_threads());
        let plural = if threads == 1 { "" } else { "s" };
        let kept = match self.cache.cache_type() {
            CacheType::F32 => "",
            CacheType::F16 => ", keys and values in F16",
            CacheType::Q8 => ", keys and values in Q8_0",
        };
        let rounded = match self.model.activation_bits() {
            ActivationBits::Twenty => String::new(),
            bits => format!(", activations of {} bits", bits.count()),
        };
        let with = match self.adapters.factors().len() {
            0 => String::new(),
            count => format!(", {}", counted(count as u64, "adapter")),
        };
        format!("processor, {threads} thread{plural}, {vectors}{kept}{rounded}{with}")
    }

    fn profile(&mut self, batch: &Batch) -> Result<Option<EngineProfile>, EngineError> {
        let start = Instant::now();
        self.prepare_slots(batch);
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
            let wanted = columns.iter().filter(|column| column.wants_logits).count();
            let multiplied = if kernel == Kernel::Logits { wanted } else { columns.len() };
            ProfileStage {
                name: kernel.name(),
                dispatches: lap.runs,
                time: lap.time,
                weight_bytes,
                multiplications: self.model.multiplications(kernel, multiplied),
            }
        };
        let mut stages: Vec<ProfileStage> = Kernel::ALL.into_iter().map(stage).collect();
        stages.push(sampling_stage(batch, choose));
        Ok(Some(EngineProfile { stages, total: start.elapsed(), passes: 1 }))
    }

    fn limits(&self) -> Option<DeviceLimits> {
        let ProcessorLimits { read_bytes, multiplications } = self.model.limits();
        Some(DeviceLimits { read_bytes, multiplications })
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
    ProfileStage { name: "sample", dispatches, time, weight_bytes: 0, multiplications: 0 }
}
