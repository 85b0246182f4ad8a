//! What tests of the forward pass share.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part")]
#![allow(clippy::unwrap_used, reason = "these are steps of tests, which fail by panicking")]

use std::path::Path;

use pixel_llm::forward::Interventions;
use pixel_llm::forward::cpu::{Column, CpuModel, KvCache};
use pixel_llm::model::gguf::Gguf;
use pixel_llm::model::{PixelModel, convert::convert};

/// Converts a GGUF file and opens the result, whose file is gone when the test ends.
pub fn open(gguf: &Path) -> PixelModel {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pxi");
    convert_to(gguf, &path);
    PixelModel::open(&path).unwrap()
}

/// Converts a GGUF file.
pub fn convert_to(gguf: &Path, path: &Path) {
    convert(&Gguf::open(gguf).unwrap(), path, &|_| ()).unwrap();
}

/// Runs a prompt from position 0 and returns the logits of every position.
pub fn prefill(model: &CpuModel, cache: &mut KvCache, ids: &[u32]) -> Vec<Vec<f32>> {
    cache.truncate(0, 0);
    let columns: Vec<Column> = ids
        .iter()
        .enumerate()
        .map(|(position, &token)| Column {
            token,
            slot: 0,
            position: position as u32,
            wants_logits: true,
        })
        .collect();
    let logits = model.forward(cache, &columns, &Interventions::default(), None).unwrap();
    logits.iter().map(|(_, row)| row.to_vec()).collect()
}

/// The same, one token to a pass, as decoding does it.
pub fn one_by_one(model: &CpuModel, cache: &mut KvCache, ids: &[u32]) -> Vec<Vec<f32>> {
    cache.truncate(0, 0);
    ids.iter().map(|&token| next(model, cache, token)).collect()
}

/// Natural logarithms of the probabilities.
pub fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|&value| f64::from(value - most).exp()).sum();
    logits.iter().map(|&value| (f64::from(value - most) - total.ln()) as f32).collect()
}

/// The logits after one more token of the only sequence.
pub fn next(model: &CpuModel, cache: &mut KvCache, token: u32) -> Vec<f32> {
    let column = Column { token, slot: 0, position: cache.length(0) as u32, wants_logits: true };
    let logits = model.forward(cache, &[column], &Interventions::default(), None).unwrap();
    logits.last().unwrap().to_vec()
}
