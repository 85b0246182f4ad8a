//! Adapters in a pass: `B (A x)` beside every product `W x` of a layer.
//!
//! In: [`Adapter`]s, the sets that a pass's columns have, what a product reads. Out: what is added
//! to the product of each row group. `h = A x` is computed once for what a product reads
//! ([`narrow`]), and `B h` is added where the row group's sums have just been computed
//! ([`widen`]), so that the model's own weights are read once for the columns of all sets. What is
//! added to a column, and in which order, hangs on nothing beside the column.

mod narrow;
mod widen;

pub(crate) use narrow::NarrowLayout;
pub(crate) use widen::WidenLayout;

use super::Column;
use super::activations::Input;
use super::cache::KvCache;
use crate::model::{Adapter, LowRank};

/// Ranks that are computed together; a product's ranks are padded with zeros to whole blocks.
const RANKS: usize = 4;
/// Sums side by side of one rank: the 64 features of a panel are four of these.
const SUMS: usize = 16;

/// What reads the same activations, and has one `h` for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdapterPoint {
    Qkv,
    Output,
    GateUp,
    Down,
}

impl AdapterPoint {
    const ALL: [Self; 4] = [Self::Qkv, Self::Output, Self::GateUp, Self::Down];

    /// The matrices, in the order in which a kernel has them.
    fn matrices(self) -> &'static [&'static str] {
        match self {
            Self::Qkv => &["attn_q", "attn_k", "attn_v"],
            Self::Output => &["attn_output"],
            Self::GateUp => &["ffn_gate", "ffn_up"],
            Self::Down => &["ffn_down"],
        }
    }
}

/// An adapter as the kernels read it.
#[derive(Debug)]
pub(super) struct CpuAdapter {
    /// By layer and [`AdapterPoint`].
    layers: Vec<[Factors; 4]>,
}

/// What an adapter has for the matrices that read the same activations.
#[derive(Debug, Default)]
struct Factors {
    /// All A of them.
    a: NarrowLayout,
    /// One for each matrix.
    parts: Vec<Part>,
}

/// What an adapter has for one matrix: nothing, where its rank is 0.
#[derive(Debug, Default)]
struct Part {
    b: WidenLayout,
    /// Where its ranks begin among all of the point.
    first: usize,
    /// `alpha / rank`.
    scale: f32,
}

impl CpuAdapter {
    /// Lays out an adapter that was checked against the model, which has so many layers.
    pub fn new(adapter: &Adapter, layers: usize) -> Self {
        let factors = |layer: usize, point: AdapterPoint| {
            let update = |name: &&str| {
                let tensor = format!("blk.{layer}.{name}.weight");
                adapter.updates.iter().find(|update| update.tensor == tensor)
            };
            let updates: Vec<_> = point.matrices().iter().map(update).collect();
            Factors::new(&updates, |update| adapter.scale(update))
        };
        let layer = |layer| AdapterPoint::ALL.map(|point| factors(layer, point));
        Self { layers: (0..layers).map(layer).collect() }
    }

    /// Bytes that it takes.
    pub fn size_in_bytes(&self) -> usize {
        let part = |part: &Part| part.b.len();
        let factors =
            |factors: &Factors| factors.a.len() + factors.parts.iter().map(part).sum::<usize>();
        self.layers.iter().flatten().map(factors).sum::<usize>() * size_of::<f32>()
    }
}

impl Factors {
    fn new(updates: &[Option<&LowRank>], scale: impl Fn(&LowRank) -> f32) -> Self {
        let mut rank = 0;
        let mut parts = Vec::new();
        for update in updates {
            parts.push(update.map_or_else(Part::default, |update| Part {
                b: WidenLayout::new(update.outputs, update.rank, |row, rank| {
                    update.b[row * update.rank + rank]
                }),
                first: rank,
                scale: scale(update),
            }));
            rank += update.map_or(0, |update| update.rank);
        }
        let inputs = updates.iter().flatten().map(|update| update.inputs).max().unwrap_or(0);
        let rows: Vec<&[f32]> =
            updates.iter().flatten().flat_map(|update| update.a.chunks_exact(inputs)).collect();
        Self { a: NarrowLayout::new(inputs, rank, |feature, rank| rows[rank][feature]), parts }
    }

    /// `h` of some columns, times the factor of each column and of each matrix.
    fn narrow(&self, input: &Input<'_>, columns: &[usize], scales: &[f32]) -> Vec<f32> {
        let mut out = self.a.narrow(input, columns);
        for (out, scale) in out.chunks_exact_mut(self.a.ranks()).zip(scales) {
            for part in &self.parts {
                let factor = part.scale * scale;
                out[part.first..][..part.b.rank()].iter_mut().for_each(|sum| *sum *= factor);
            }
        }
        out
    }
}

/// The adapters that act on columns of a pass, in ascending order.
#[derive(Debug, Default)]
pub(super) struct ActiveAdapters<'a>(Vec<ActiveAdapter<'a>>);

/// An adapter, the columns that it acts on, and its factor in each of them.
#[derive(Debug)]
struct ActiveAdapter<'a> {
    adapter: &'a CpuAdapter,
    columns: Vec<usize>,
    factors: Vec<f32>,
}

impl<'a> ActiveAdapters<'a> {
    /// What acts on some columns, by the sets of their slots.
    pub fn new(adapters: &'a [CpuAdapter], cache: &KvCache, columns: &[Column]) -> Self {
        // By far most passes have none.
        if adapters.is_empty() {
            return Self::default();
        }
        let act = |(index, adapter): (usize, &'a CpuAdapter)| {
            let mut active = ActiveAdapter { adapter, columns: Vec::new(), factors: Vec::new() };
            for (at, column) in columns.iter().enumerate() {
                let set = cache.adapters(column.slot as usize).factors();
                if let Some(&(_, factor)) = set.iter().find(|(known, _)| *known as usize == index) {
                    active.columns.push(at);
                    active.factors.push(factor);
                }
            }
            (!active.columns.is_empty()).then_some(active)
        };
        Self(adapters.iter().enumerate().filter_map(act).collect())
    }

    /// Those of a layer.
    pub fn layer(&self, layer: u32) -> LayerAdapters<'_> {
        LayerAdapters { active: &self.0, layer: layer as usize }
    }
}

/// What acts on columns of a pass in one layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerAdapters<'a> {
    active: &'a [ActiveAdapter<'a>],
    layer: usize,
}

impl<'a> LayerAdapters<'a> {
    /// What is added to the products of what reads this input.
    pub fn updates(self, point: AdapterPoint, input: &Input<'_>) -> Updates<'a> {
        let update = |active: &'a ActiveAdapter<'a>| {
            let factors = &active.adapter.layers[self.layer][point as usize];
            (factors.a.ranks() > 0).then(|| Update {
                narrow: factors.narrow(input, &active.columns, &active.factors),
                factors,
                columns: &active.columns,
            })
        };
        Updates(self.active.iter().filter_map(update).collect())
    }
}

/// What is added to the products of the matrices that read the same activations.
#[derive(Debug)]
pub(super) struct Updates<'a>(Vec<Update<'a>>);

#[derive(Debug)]
struct Update<'a> {
    factors: &'a Factors,
    columns: &'a [usize],
    /// `h` times all factors, `[column of the adapter][rank]`.
    narrow: Vec<f32>,
}

impl Updates<'_> {
    /// Adds what belongs to a row group of one of the matrices to its sums, `[column][64]`.
    pub fn add(&self, matrix: usize, group: usize, out: &mut [f32]) {
        for Update { factors, columns, narrow } in &self.0 {
            let part = &factors.parts[matrix];
            if part.b.rank() > 0 {
                part.b.add(group, (&narrow[part.first..], factors.a.ranks()), columns, out);
            }
        }
    }
}
