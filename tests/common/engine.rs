//! What the tests of the whole forward pass on the GPU share.

use std::path::Path;
use std::sync::Arc;

use pixel_llm::engine::Batch;
use pixel_llm::engine::gpu::GpuEngine;
use pixel_llm::forward::cpu::{Column as CpuColumn, CpuModel, CpuOptions, KvCache};
use pixel_llm::forward::{Hooks, Interventions};
use pixel_llm::model::{Encoding, PixelModel};

use super::forward::open;
use super::gpu::columns;
use super::tiny::Tiny;

/// Positions of each slot, as [`super::gpu::engine`] has them.
pub const CONTEXT: usize = 64;

/// A model of `tests/vectors/models`.
pub fn vectors(name: &str) -> Arc<PixelModel> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/models");
    Arc::new(open(&folder.join(format!("{name}.gguf"))))
}

/// A model of two layers with random weights.
pub fn tiny(architecture: &str, encoding: Encoding) -> Arc<PixelModel> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    Tiny::new(architecture, encoding, 7).write(&path);
    Arc::new(open(&path))
}

/// The twin of a model.
pub fn cpu(model: &Arc<PixelModel>) -> CpuModel {
    CpuModel::new(Arc::clone(model), CpuOptions::default()).unwrap()
}

/// Tokens at the positions from `first` of a slot.
pub fn batch(ids: &[u32], slot: u32, first: u32) -> Batch {
    Batch { columns: columns(ids, slot, first), steps: 1, ..Batch::default() }
}

/// Logits of every column.
pub fn on_gpu(engine: &mut GpuEngine, batch: &Batch) -> Vec<Vec<f32>> {
    let wanted: Vec<u32> = (0..batch.columns.len() as u32).collect();
    engine.logits(batch, &wanted).unwrap()
}

/// Logits of every column of a prompt.
pub fn on_cpu(
    model: &CpuModel,
    ids: &[u32],
    interventions: &Interventions,
    hooks: Option<&mut Hooks>,
) -> Vec<Vec<f32>> {
    let mut cache = KvCache::new(model.config(), 1, CONTEXT);
    let column = |(&token, position)| CpuColumn { token, slot: 0, position, wants_logits: true };
    let columns: Vec<CpuColumn> = ids.iter().zip(0..).map(column).collect();
    let logits = model.forward(&mut cache, &columns, interventions, hooks).unwrap();
    logits.iter().map(|(_, row)| row.to_vec()).collect()
}

/// The largest difference between two lists of rows; a value that is no number is the largest of
/// all.
pub fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let rows = a.iter().zip(b).flat_map(|(a, b)| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b)
    });
    rows.map(|(a, b)| (a - b).abs()).fold(0.0, |most, next| if next <= most { most } else { next })
}
