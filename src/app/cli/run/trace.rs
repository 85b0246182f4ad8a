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

use crate::engine::open::EngineAdapters;
use crate::forward::cpu::{Column, CpuModel, CpuOptions, KvCache};
use crate::forward::{HookPoint, Hooks, Interventions};
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
    interventions: &Interventions,
    adapters: &EngineAdapters,
) -> anyhow::Result<usize> {
    let config = model.config().clone();
    let mut cpu = CpuModel::new(model, CpuOptions::default())?;
    for adapter in &adapters.adapters {
        cpu.add_adapter(adapter)?;
    }
    let mut cache = KvCache::new(&config, 1, tokens.len());
    cache.set_adapters(0, &adapters.usual);
    // No logits are drawn, so the output matrix need not be read.
    let columns: Vec<Column> = (0..)
        .zip(tokens)
        .map(|(position, &token)| Column { token, slot: 0, position, wants_logits: false })
        .collect();
    let mut hooks = Hooks::watching((0..config.layer_count).flat_map(points), columns.len());
    cpu.forward(&mut cache, &columns, interventions, Some(&mut hooks))?;

    let mut map = open(folder)?;
    let positions =
        u32::try_from(tokens.len()).context("more tokens than a cache has positions")?;
    let regions = CacheRegions::place(&mut map, &config, positions)?;
    for layer in 0..config.layer_count {
        let [keys, values] = cache.rows(layer as usize, 0);
        regions.write(&mut map, layer, [&keys, &values])?;
        for seen in points(layer).into_iter().filter_map(|point| hooks.seen(point)) {
            let name = format!("{layer} {}", seen.point.name());
            write_activations(&mut map, &name, &seen.values, seen.features)?;
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
