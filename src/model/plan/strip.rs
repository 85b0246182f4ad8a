//! The shape of one layer: a strip across the river, of one lane or of several side by side.
//!
//! A lane is as wide as the residual stream, whose dimension runs along x in all of it. What a
//! layer has is dealt out to its lanes: heads as they follow each other, neurons in equal parts.

use std::ops::Range;

use super::rules::Spacing;
use crate::model::config::ModelConfig;

/// How many times as deep as the river is wide both banks are at most: beside deeper ones it would
/// be a thread. The first is the usual one; the others are for a land that would be too wide for
/// its screen, as one of 40 layers of 4096 is.
pub(super) const BANKS: [i64; 4] = [24, 16, 12, 8];

/// One layer's sizes, all in cells; every layer of a row has the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strip {
    /// Lanes side by side.
    pub lanes: u32,
    /// From one lane's left edge to the next one's.
    pub pitch: i64,
    /// From edge to edge.
    pub width: i64,
    /// Down: the bank of the heads, that of the fields, the river between them.
    pub heads: i64,
    pub fields: i64,
    pub river: i64,
    /// Between each bank and the river: vectors of the attention, and of the feed-forward.
    pub shores: [i64; 2],
    /// Between what lies in a lane.
    pub gap: i64,
    /// Heads, keys and values of a layer, and neurons of its feed-forward.
    pairs: u32,
    neurons: u32,
    head_size: i64,
}

impl Strip {
    /// The strip of a model's layers with so many lanes, and banks of at most so many times the
    /// river's width. `shores` is the room for vectors.
    pub fn new(
        config: &ModelConfig,
        (spacing, unit): (&Spacing, i64),
        shores: [i64; 2],
        (lanes, banks): (u32, i64),
    ) -> Self {
        let units = |count: u32| i64::from(count) * unit;
        // At least a cell of ground between plots, where the rules have them apart.
        let gap = (units(spacing.plots) / 2).max(i64::from(spacing.plots.min(1)));
        // Biases of rows stand beside them, in a column of one cell.
        let has_columns = config.qkv_biases || config.feed_forward_biases;
        let lane = i64::from(config.embedding_size) + if has_columns { 1 + gap } else { 0 };
        let pitch = lane + units(spacing.groups);
        let pairs = config.head_count + config.kv_head_count;
        let head_size = i64::from(config.head_size);
        let down = i64::from(pairs.div_ceil(lanes));
        let part = i64::from(config.hidden_size.div_ceil(lanes));
        let heads = down * (2 * head_size + 2 * gap) - gap;
        let fields = 3 * part + 2 * units(spacing.groups);
        Self {
            lanes,
            pitch,
            width: i64::from(lanes) * pitch - units(spacing.groups),
            heads,
            fields,
            river: units(spacing.river).max((heads + fields) / banks),
            shores: shores.map(|shore| shore + units(spacing.banks)),
            gap,
            pairs,
            neurons: config.hidden_size,
            head_size,
        }
    }

    /// From the north edge of one bank to the south edge of the other.
    pub fn height(&self) -> i64 {
        self.heads + self.fields + self.river + self.shores[0] + self.shores[1]
    }

    /// Where the pair of plots `index` stands in the bank of the heads. Pairs are K and V of a
    /// group and Q and O of each of its heads, as they follow each other; all are equally tall.
    pub fn pair(&self, index: u32) -> (i64, i64) {
        let lanes = self.lanes;
        let lane = (0..lanes).rfind(|&lane| part_of(self.pairs, lanes, lane).start <= index);
        let lane = lane.unwrap_or(0);
        let down = index - part_of(self.pairs, lanes, lane).start;
        (i64::from(lane) * self.pitch, i64::from(down) * (2 * self.head_size + 2 * self.gap))
    }

    /// The neurons of a lane's fields.
    pub fn neurons(&self, lane: u32) -> Range<u64> {
        let part = part_of(self.neurons, self.lanes, lane);
        u64::from(part.start)..u64::from(part.end)
    }

    /// The most neurons of a lane: how tall gate, up and down are.
    pub fn field(&self) -> i64 {
        i64::from(self.neurons.div_ceil(self.lanes))
    }
}

/// The share of lane `lane` in `count` things: whole ones, as even as can be, the larger first.
fn part_of(count: u32, lanes: u32, lane: u32) -> Range<u32> {
    let (each, more) = (count / lanes, count % lanes);
    let start = |lane: u32| lane * each + lane.min(more);
    start(lane)..start(lane + 1)
}
