//! What tests of the forward pass share.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part")]
#![allow(clippy::unwrap_used, reason = "these are steps of tests, which fail by panicking")]

use std::path::Path;

use pixel_llm::model::gguf::Gguf;
use pixel_llm::model::{PixelModel, convert::convert};
use pixel_llm::passes::reference::{Column, Controls, CpuModel, KvCache};

/// Converts a GGUF file and opens the result, whose file is gone when the test ends.
pub fn open(gguf: &Path) -> PixelModel {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pxi");
    convert(&Gguf::open(gguf).unwrap(), &path, &|_| ()).unwrap();
    PixelModel::open(&path).unwrap()
}

/// Runs a prompt from position 0 and returns the logits of every position.
pub fn prefill(model: &CpuModel, cache: &mut KvCache, ids: &[u32]) -> Vec<Vec<f32>> {
    cache.truncate(0, 0);
    let columns: Vec<Column> = ids
        .iter()
        .enumerate()
        .map(|(position, &token)| Column { token, slot: 0, position: position as u32, wants_logits: true })
        .collect();
    let logits = model.forward(cache, &columns, &Controls::default(), None).unwrap();
    logits.iter().map(|(_, row)| row.to_vec()).collect()
}

/// The same, one token to a pass, as decoding does it.
pub fn one_by_one(model: &CpuModel, cache: &mut KvCache, ids: &[u32]) -> Vec<Vec<f32>> {
    cache.truncate(0, 0);
    let step = |(position, &token): (usize, &u32)| {
        let column = Column { token, slot: 0, position: position as u32, wants_logits: true };
        let logits = model.forward(cache, &[column], &Controls::default(), None).unwrap();
        logits.last().unwrap().to_vec()
    };
    ids.iter().enumerate().map(step).collect()
}

/// Natural logarithms of the probabilities.
pub fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|&value| f64::from(value - most).exp()).sum();
    logits.iter().map(|&value| (f64::from(value - most) - total.ln()) as f32).collect()
}

/// Continues after `start`, one token at a time, always with the best; must give `expected` until two tokens are within `margin`.
pub fn decode_greedily(
    model: &CpuModel,
    cache: &mut KvCache,
    start: &[f32],
    expected: &[u32],
    margin: f32,
    name: &str,
) {
    let mut row = start.to_vec();
    for (step, &expected) in expected.iter().enumerate() {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.select_nth_unstable_by(1, |&a, &b| row[b].total_cmp(&row[a]));
        let token = order[0] as u32;
        if row[order[0]] - row[order[1]] < margin {
            return;
        }
        assert_eq!(token, expected, "{name}: step {step}");
        let column = Column { token, slot: 0, position: cache.length(0) as u32, wants_logits: true };
        let logits = model.forward(cache, &[column], &Controls::default(), None).unwrap();
        row = logits.last().unwrap().to_vec();
    }
}
