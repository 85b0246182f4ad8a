//! What a run takes, before it begins: memory, by the sizes of what is kept, and steps.

use serde::Serialize;

use super::Trained;
use super::cpu::{COLUMNS, LOGIT_COLUMNS};
use super::settings::LoraSettings;
use crate::model::PixelModel;

/// Numbers beside each trained one: its gradient and both moments.
const OF_EACH_TRAINED: u64 = 4;

/// Bytes of each trained number while a checkpoint is written: three numbers, twice.
const OF_EACH_SAVED: u64 = 24;

/// What one choice of settings takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Numbers that are trained.
    pub trained: u64,
    /// What is trained, its gradient and both moments.
    pub trained_bytes: u64,
    /// A checkpoint on its way to the disk: a copy of what is trained and of both moments, and the
    /// bytes of its file.
    pub checkpoint_bytes: u64,
    /// The residual stream at each layer's entrance.
    pub entrances_bytes: u64,
    /// Layers whose activations are kept; the others are computed again on the way back.
    pub kept_layers: usize,
    /// Activations of these layers.
    pub activations_bytes: u64,
    /// Logits of the columns that are looked at together.
    pub logits_bytes: u64,
    /// Columns of a micro-step.
    pub columns: usize,
}

impl MemoryPlan {
    /// All of it. The model's file, whose pages the system takes back as it likes, is not in it.
    pub fn total(&self) -> u64 {
        self.trained_bytes
            + self.checkpoint_bytes
            + self.entrances_bytes
            + self.activations_bytes
            + self.logits_bytes
    }
}

/// Why settings do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "these settings take {} and there are {}: {advice}",
    crate::size::MemorySize(*.needed),
    crate::size::MemorySize(*.room)
)]
pub struct NoRoom {
    /// The least that they take, in bytes.
    pub needed: u64,
    /// What there is.
    pub room: u64,
    /// The nearest settings that fit.
    pub advice: String,
}

/// Numbers that are trained.
pub fn trained_numbers(model: &PixelModel, what: &Trained) -> u64 {
    let size =
        |name: &str| model.tensor(name).map(|tensor| (tensor.tiling.rows, tensor.tiling.columns));
    match what {
        Trained::Full => model.weight_count(),
        Trained::Lora(LoraSettings { rank, targets, layers, .. }) => {
            let (first, end) = layers.unwrap_or((0, model.config().layer_count));
            let one = |layer: u32, target: &String| {
                size(&format!("blk.{layer}.{target}.weight"))
                    .map_or(0, |(rows, columns)| *rank as u64 * (rows + columns))
            };
            (first..end).flat_map(|layer| targets.iter().map(move |it| one(layer, it))).sum()
        }
    }
}

/// Plans a run whose longest sequence has so many columns, within so many bytes: as many layers
/// are kept as fit.
///
/// # Errors
/// Not even a run that keeps one layer fits; the error names the nearest settings that do.
pub fn plan(
    model: &PixelModel,
    what: &Trained,
    longest: usize,
    batch_tokens: usize,
    room: u64,
) -> Result<MemoryPlan, NoRoom> {
    let micro = |longest: usize| longest.max(COLUMNS.min(batch_tokens));
    let least = with(model, what, micro(longest), 1);
    if least.total() <= room {
        let layers = model.config().layer_count as usize;
        let fits = |&layers: &usize| with(model, what, micro(longest), layers).total() <= room;
        let kept = (1..=layers).rev().find(fits).unwrap_or(1);
        return Ok(with(model, what, micro(longest), kept));
    }
    // What people would rather change comes first; of each the largest that fits.
    let fits = |what: &Trained, longest: usize, batch: usize| {
        let columns = longest.max(COLUMNS.min(batch));
        with(model, what, columns, 1).total() <= room
    };
    let smaller = |from: usize| std::iter::successors(Some(from), |n| (*n > 1).then_some(n / 2));
    let mut advice = None;
    if let Some(batch) = smaller(batch_tokens.min(COLUMNS)).find(|&it| fits(what, longest, it))
        && batch >= longest.min(16)
    {
        advice = Some(format!("--batch-tokens {batch} fits"));
    }
    if let (None, Trained::Lora(lora)) = (&advice, what) {
        let with_rank = |rank: usize| Trained::Lora(LoraSettings { rank, ..lora.clone() });
        advice = smaller(lora.rank)
            .find(|&rank| fits(&with_rank(rank), longest, batch_tokens))
            .map(|rank| format!("--rank {rank} fits"));
    }
    if advice.is_none() {
        advice = smaller(longest)
            .find(|&longest| longest >= 8 && fits(what, longest, longest))
            .map(|longest| {
                let context = longest + 1;
                format!("--context {context} --truncate --batch-tokens {longest} fits")
            });
    }
    let advice = advice.unwrap_or_else(|| match what {
        Trained::Full => "train an adapter instead, without --full".into(),
        Trained::Lora(_) => "not even the smallest settings fit; raise --memory".into(),
    });
    Err(NoRoom { needed: least.total(), room, advice })
}

fn with(model: &PixelModel, what: &Trained, columns: usize, kept_layers: usize) -> MemoryPlan {
    let config = model.config();
    let [width, heads, kv_heads, size, hidden] = [
        config.embedding_size,
        config.head_count,
        config.kv_head_count,
        config.head_size,
        config.hidden_size,
    ]
    .map(u64::from);
    let (columns_wide, layers) = (columns as u64, u64::from(config.layer_count));
    // specs/training.md, Memory: the norms' results, queries, keys, values and their gradients,
    // what heads attended to, gate, up and hidden.
    let of_layer = 4
        * columns_wide
        * (5 * width + 4 * (heads + 2 * kv_heads) * size + 2 * heads * size + 4 * hidden);
    let trained = trained_numbers(model, what);
    // Where all is trained, passes read a copy of it in tiles; the file's own tensors stay too.
    let of_each = 4 * (OF_EACH_TRAINED + u64::from(*what == Trained::Full));
    MemoryPlan {
        trained,
        trained_bytes: trained * of_each,
        checkpoint_bytes: trained * OF_EACH_SAVED,
        entrances_bytes: 4 * layers * columns_wide * width,
        kept_layers,
        activations_bytes: of_layer * kept_layers as u64,
        logits_bytes: 4 * LOGIT_COLUMNS as u64 * u64::from(config.vocab_size),
        columns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seedling() -> PixelModel {
        crate::app::kinds::assets().default_model().unwrap()
    }

    #[test]
    fn more_room_keeps_more_layers_and_too_little_is_told() {
        let model = seedling();
        let what = Trained::Lora(LoraSettings::default());
        let all = plan(&model, &what, 60, 1024, u64::MAX).unwrap();
        assert_eq!(all.kept_layers, model.config().layer_count as usize);
        let least = plan(&model, &what, 60, 1024, with(&model, &what, 512, 1).total()).unwrap();
        assert_eq!((least.kept_layers, least.columns), (1, 512));
        for (longest, room, expected) in [
            (60, least.total() - 1, "--batch-tokens 256 fits"),
            (600, with(&model, &what, 300, 1).total(), "--context 301 --truncate"),
            (60, 1000, "raise --memory"),
        ] {
            let refused = plan(&model, &what, longest, 1024, room).unwrap_err();
            assert!(refused.advice.contains(expected), "{refused}");
        }
        let large = Trained::Lora(LoraSettings { rank: 4096, ..LoraSettings::default() });
        let refused = plan(&model, &large, 60, 64, 64 << 20).unwrap_err();
        assert!(refused.advice.starts_with("--rank "), "{refused}");
    }

    #[test]
    fn trained_numbers_are_those_of_the_adapter() {
        let model = seedling();
        let lora = LoraSettings { layers: Some((0, 1)), ..LoraSettings::default() };
        let config = model.config();
        let width = u64::from(config.embedding_size);
        let queries = u64::from(config.head_count * config.head_size);
        let keys = u64::from(config.kv_head_count * config.head_size);
        let hidden = u64::from(config.hidden_size);
        let both = 2 * (width + queries) + 2 * (width + keys) + 3 * (width + hidden);
        assert_eq!(trained_numbers(&model, &Trained::Lora(lora)), 8 * both);
    }
}
