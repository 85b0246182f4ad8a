//! A model with adapters in its weights: `W + s B A`, written as a model of its own.
//!
//! In: a model and adapters. Out: a GGUF file whose changed matrices are floats, or in the
//! encoding that they were in; and, for each, how much of the update is left after rounding.

use std::sync::Mutex;

use super::{Adapter, LowRank};
use crate::model::convert::Progress;
use crate::model::error::ModelError;
use crate::model::export::{tensor_infos, write_tensors};
use crate::model::gguf::GgufWriter;
use crate::model::quant::{dequantize, fit};
use crate::model::{Encoding, PixelModel};
use crate::pxi::Target;

/// Below this share of the update a merge is not worth its name.
pub const LEAST_SURVIVAL: f64 = 0.5;

/// What a merge made of a matrix, or of all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Survival {
    /// The norm of the update.
    pub update: f64,
    /// The norm of what the weights are away from what they should be.
    pub error: f64,
    /// The norm of the matrix before.
    pub weights: f64,
}

impl Survival {
    /// How much of the update is left: 1 is all of it, and below 0 rounding has done more than it.
    pub fn share(&self) -> f64 {
        if self.update == 0.0 { 1.0 } else { 1.0 - self.error / self.update }
    }

    /// Adds squares of another part, both being squares.
    fn add(&mut self, other: &Self) {
        self.update += other.update;
        self.error += other.error;
        self.weights += other.weights;
    }

    fn roots(self) -> Self {
        let Self { update, error, weights } = self;
        Self { update: update.sqrt(), error: error.sqrt(), weights: weights.sqrt() }
    }
}

/// A matrix that a merge changed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MergedTensor {
    /// Its GGUF name.
    pub name: String,
    /// How it was stored.
    pub before: Encoding,
    /// How it is stored now.
    pub after: Encoding,
    /// What is left of the update.
    #[serde(flatten)]
    pub survival: Survival,
}

/// What a merge has done.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The matrices that changed.
    pub tensors: Vec<MergedTensor>,
    /// All of them together.
    pub total: Survival,
}

/// A merge that is written but has not got its name yet: [`Merge::finish`] gives it, and dropped
/// it leaves nothing.
#[must_use = "the file appears when it is finished"]
#[derive(Debug)]
pub struct Merge {
    writer: GgufWriter,
    /// What it has done.
    pub merged: Merged,
}

impl Merge {
    /// Gives the file its name.
    ///
    /// # Errors
    /// It cannot be synced or renamed.
    pub fn finish(self) -> Result<Merged, ModelError> {
        self.writer.finish()?;
        Ok(self.merged)
    }
}

/// Writes a model with adapters in its weights, each with a factor, as a GGUF file. They were
/// checked against the model. Changed matrices are stored in `encoding`, which is F32, F16 or BF16;
/// `None` is that in which they are, with codes and scales fitted anew block by block.
///
/// # Errors
/// A tile is damaged, a weight does not fit the encoding, or the file cannot be written.
pub fn merge(
    model: &PixelModel,
    adapters: &[(Adapter, f32)],
    encoding: Option<Encoding>,
    target: impl Into<Target>,
    progress: Progress<'_>,
) -> Result<Merge, ModelError> {
    let updates: Vec<Vec<(&LowRank, f32)>> =
        model.tensors().iter().map(|tensor| updates_of(adapters, &tensor.name)).collect();
    let mut infos = tensor_infos(model);
    for (info, updates) in infos.iter_mut().zip(&updates) {
        if let (Some(encoding), false) = (encoding, updates.is_empty()) {
            info.encoding = encoding;
        }
    }
    let metadata = model.metadata().clone();
    let metadata = match encoding {
        Some(encoding) => metadata.with_file_type(encoding),
        None => metadata,
    };
    let mut writer = GgufWriter::create(target, &metadata, &infos)?;
    let survivals = Mutex::new(vec![Survival::default(); infos.len()]);
    let unfit = Mutex::new(None);
    let change = |index: usize, first: u64, band: Vec<u8>| {
        if updates[index].is_empty() {
            return band;
        }
        let tensor = &model.tensors()[index];
        let columns = tensor.tiling.columns as usize;
        let rows = Rows { before: tensor.encoding(), after: infos[index].encoding, columns };
        let (bytes, survival) = rows.merge(&updates[index], first as usize, band);
        if !survival.error.is_finite() {
            *unfit.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(index);
        }
        let mut survivals = survivals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        survivals[index].add(&survival);
        bytes
    };
    write_tensors(model, &mut writer, &change, progress)?;
    if let Some(index) = unfit.into_inner().unwrap_or_default() {
        let name = &model.tensors()[index].name;
        let problem = "a merged weight is infinite or too large for the encoding: take F32, or a \
                       smaller scale";
        return Err(ModelError::tensor(name, problem));
    }
    let mut total = Survival::default();
    let mut tensors = Vec::new();
    let survivals = survivals.into_inner().unwrap_or_default();
    for ((index, survival), info) in survivals.iter().enumerate().zip(infos) {
        if !updates[index].is_empty() {
            total.add(survival);
            let before = model.tensors()[index].encoding();
            let (after, survival) = (info.encoding, survival.roots());
            tensors.push(MergedTensor { name: info.name, before, after, survival });
        }
    }
    Ok(Merge { writer, merged: Merged { tensors, total: total.roots() } })
}

/// What changes a tensor, with the factors of the updates.
fn updates_of<'a>(adapters: &'a [(Adapter, f32)], tensor: &str) -> Vec<(&'a LowRank, f32)> {
    let of = |(adapter, factor): &'a (Adapter, f32)| {
        let update = adapter.updates.iter().find(|update| update.tensor == tensor)?;
        let factor = factor * adapter.scale(update);
        (factor != 0.0).then_some((update, factor))
    };
    adapters.iter().filter_map(of).collect()
}

/// Rows of a matrix that changes.
struct Rows {
    before: Encoding,
    after: Encoding,
    columns: usize,
}

impl Rows {
    /// The bytes of rows from `first` on with updates, and the squares of what it comes to.
    fn merge(
        &self,
        updates: &[(&LowRank, f32)],
        first: usize,
        band: Vec<u8>,
    ) -> (Vec<u8>, Survival) {
        let row_bytes = self.columns / self.before.block_len() * self.before.block_bytes();
        let mut out = Vec::new();
        let mut sum = Survival::default();
        let mut weights = vec![0.0; self.columns];
        for (row, bytes) in (first..).zip(band.chunks_exact(row_bytes)) {
            dequantize(self.before, bytes, &mut weights);
            let wanted = merged_row(&weights, updates, row);
            let encoded = self.encode(bytes, &wanted);
            let mut found = vec![0.0; self.columns];
            dequantize(self.after, &encoded, &mut found);
            for ((before, wanted), found) in weights.iter().zip(&wanted).zip(&found) {
                let square = |a: f32, b: f32| (f64::from(a) - f64::from(b)).powi(2);
                sum.update += square(*wanted, *before);
                sum.error += square(*found, *wanted);
                sum.weights += square(*before, 0.0);
            }
            out.extend_from_slice(&encoded);
        }
        (out, sum)
    }

    fn encode(&self, before: &[u8], wanted: &[f32]) -> Vec<u8> {
        match self.after {
            Encoding::F32 => wanted.iter().flat_map(|w| w.to_le_bytes()).collect(),
            Encoding::F16 => {
                wanted.iter().flat_map(|&w| half::f16::from_f32(w).to_le_bytes()).collect()
            }
            Encoding::BF16 => {
                wanted.iter().flat_map(|&w| half::bf16::from_f32(w).to_le_bytes()).collect()
            }
            // It can only be the same.
            encoding => {
                let mut bytes = before.to_vec();
                let blocks = bytes.chunks_exact_mut(encoding.block_bytes());
                blocks
                    .zip(wanted.chunks_exact(encoding.block_len()))
                    .for_each(|(block, wanted)| fit(encoding, block, wanted));
                bytes
            }
        }
    }
}

/// A row with all updates.
fn merged_row(weights: &[f32], updates: &[(&LowRank, f32)], row: usize) -> Vec<f32> {
    let mut sums: Vec<f64> = weights.iter().map(|&weight| f64::from(weight)).collect();
    for (update, factor) in updates {
        let b = &update.b[row * update.rank..][..update.rank];
        for (b, a) in b.iter().zip(update.a.chunks_exact(update.inputs)) {
            let factor = f64::from(*factor) * f64::from(*b);
            sums.iter_mut().zip(a).for_each(|(sum, a)| *sum += factor * f64::from(*a));
        }
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}
