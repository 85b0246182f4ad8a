//! `--save-activations`: what the model computes for a prompt and its answer, as regions of an
//! infinite map.
//!
//! Comes in: the tokens of one sequence. Goes out: per layer the keys and values that its cache
//! has, what its heads give and the residual stream after it, in regions of
//! [`crate::residency::regions`]. They are computed by the kernels' CPU twins, in one pass over the
//! tokens that were made.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use crate::forward::HookPoint;
use crate::forward::cpu::{Column, Controls, CpuModel, CpuOptions, HookValues, Hooks, KvCache};
use crate::map::{InfiniteMap, MapOptions};
use crate::model::{ModelConfig, PixelModel};
use crate::residency::regions::{CacheRegions, write_activations};

/// Refuses a folder that has such regions already, before anything is computed.
///
/// # Errors
/// The map cannot be opened, or has regions of these names.
pub fn check(folder: &Path, config: &ModelConfig) -> anyhow::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let map = open(folder)?;
    let last = config.layer_count.saturating_sub(1);
    let taken = [CacheRegions::name(0, "keys"), CacheRegions::name(last, "values")]
        .into_iter()
        .find(|name| map.region(name).is_some());
    match taken {
        Some(name) => {
            anyhow::bail!(
                "{}: there is a region {name:?} already; name another map",
                folder.display()
            )
        }
        None => Ok(()),
    }
}

/// Computes a sequence and writes the regions; how many there are.
///
/// # Errors
/// The model cannot be computed, or the map not be written.
pub fn save(
    folder: &Path,
    model: Arc<PixelModel>,
    tokens: &[u32],
    controls: &Controls,
) -> anyhow::Result<usize> {
    let config = model.config().clone();
    let cpu = CpuModel::new(model, CpuOptions::default())?;
    let mut cache = KvCache::new(&config, 1, tokens.len());
    let columns: Vec<Column> = (0..)
        .zip(tokens)
        .map(|(position, &token)| Column { token, slot: 0, position, wants_logits: false })
        .collect();
    let mut seen = LayerRows { layers: vec![Default::default(); config.layer_count as usize] };
    cpu.forward(&mut cache, &columns, controls, Some(&mut seen))?;

    let mut map = open(folder)?;
    let positions =
        u32::try_from(tokens.len()).context("more tokens than a cache has positions")?;
    let regions = CacheRegions::place(&mut map, &config, positions)?;
    for (layer, numbers) in (0..config.layer_count).zip(&seen.layers) {
        let [keys, values] = cache.rows(layer as usize, 0);
        regions.write(&mut map, layer, [&keys, &values])?;
        for (numbers, point) in numbers.iter().zip(points(layer)) {
            let name = format!("{layer} {}", point.name());
            write_activations(&mut map, &name, numbers, point.features(&config) as usize)?;
        }
    }
    let count = map.regions().len();
    map.close()?;
    Ok(count)
}

fn open(folder: &Path) -> anyhow::Result<InfiniteMap> {
    Ok(InfiniteMap::open_or_create(folder, &MapOptions::default())?)
}

/// What is kept of a layer beside its cache.
fn points(layer: u32) -> [HookPoint; 2] {
    [HookPoint::HeadOutput(layer), HookPoint::Residual(layer)]
}

/// What was seen at the points of each layer: rows of features, one per column.
struct LayerRows {
    layers: Vec<[Vec<f32>; 2]>,
}

impl Hooks for LayerRows {
    fn wants(&self, point: HookPoint) -> bool {
        point.layer().is_some_and(|layer| points(layer).contains(&point))
    }

    fn visit(&mut self, point: HookPoint, values: HookValues<'_>) {
        let Some(layer) = point.layer() else { return };
        let at = points(layer).iter().position(|&one| one == point);
        if let Some(rows) = at.and_then(|at| self.layers.get_mut(layer as usize)?.get_mut(at)) {
            rows.extend_from_slice(values.values);
        }
    }
}
