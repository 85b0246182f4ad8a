//! Hooks of the forward pass, the same for the processor and for an adapter: values on their way
//! are watched, or changed before what follows reads them.
//!
//! In: [`Hook`]s for the columns of a pass. Out: [`Watched`] values, one list per hook that
//! watches.

use std::ops::Range;

use super::HookPoint;
use super::cpu::Column;
use crate::model::ModelConfig;

/// What a hook does with the values at its place.
#[derive(Debug, Clone, PartialEq)]
pub enum HookAction {
    /// Copies them, as they are after the hooks before it.
    Watch,
    /// Puts others in their place: one per feature, column by column.
    Replace(Vec<f32>),
    /// Multiplies them; 0 makes all of them 0, whatever they were.
    Scale(f32),
    /// Adds to them: one per feature, column by column.
    Add(Vec<f32>),
}

/// Watches or changes the values of some columns at a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Hook {
    /// The place. On the GPU [`HookPoint::HeadOutput`] is what each head gives *after* its factor;
    /// on the CPU it is before it.
    pub point: HookPoint,
    /// Columns of the pass; at [`HookPoint::FinalNorm`] and [`HookPoint::Logits`] those of them
    /// that want logits, counted from 0.
    pub columns: Range<u32>,
    /// What happens to the values there.
    pub action: HookAction,
}

impl Hook {
    /// A hook that copies.
    pub fn watch(point: HookPoint, columns: Range<u32>) -> Self {
        Self { point, columns, action: HookAction::Watch }
    }

    /// The columns that it names of those of a pass.
    ///
    /// # Errors
    /// The model has no such layer, the pass no such column, or there are too few or too many
    /// values.
    pub(super) fn check(
        &self,
        config: &ModelConfig,
        columns: &[Column],
    ) -> Result<Vec<Column>, HookError> {
        let (point, layers) = (self.point, config.layer_count);
        if point.layer().is_some_and(|layer| layer >= layers) {
            return Err(HookError::Layer { point, layers });
        }
        let all: Vec<Column> = columns
            .iter()
            .filter(|column| column.wants_logits || !point.is_of_logits())
            .copied()
            .collect();
        let range = self.columns.start as usize..self.columns.end as usize;
        // `get` refuses a range that ends before it begins as well, where an index would panic.
        let Some(named) = all.get(range).filter(|named| !named.is_empty()) else {
            let (columns, available) = (self.columns.clone(), all.len() as u32);
            return Err(HookError::Columns { point, columns, available });
        };
        let (features, count) = (point.features(config), named.len() as u32);
        match &self.action {
            HookAction::Replace(values) | HookAction::Add(values)
                if values.len() != features as usize * named.len() =>
            {
                Err(HookError::Values { point, found: values.len(), columns: count, features })
            }
            _ => Ok(named.to_vec()),
        }
    }
}

/// Values that a hook has seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// The place where they were.
    pub point: HookPoint,
    /// The columns that had them, in the order of the pass.
    pub columns: Vec<Column>,
    /// Values of each column.
    pub features: usize,
    /// `values[column * features + feature]`.
    pub values: Vec<f32>,
}

impl Watched {
    /// The values of a column, by its index in [`Watched::columns`].
    pub fn column(&self, index: usize) -> &[f32] {
        &self.values[index * self.features..][..self.features]
    }
}

/// Hooks in the order in which they act where their places are the same, and what those of them
/// that watch have seen in the latest pass on the CPU.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    pub(super) hooks: Vec<Hook>,
    pub(super) watched: Vec<Watched>,
}

impl Hooks {
    /// Hooks that have seen nothing yet.
    pub fn new(hooks: impl IntoIterator<Item = Hook>) -> Self {
        Self { hooks: hooks.into_iter().collect(), watched: Vec::new() }
    }

    /// Hooks that watch so many columns at some places.
    pub fn watching(points: impl IntoIterator<Item = HookPoint>, columns: usize) -> Self {
        Self::new(points.into_iter().map(|point| Hook::watch(point, 0..columns as u32)))
    }

    /// What was seen, in the order of the hooks that watch.
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// What was seen at a place by the first hook that watches it.
    pub fn seen(&self, point: HookPoint) -> Option<&Watched> {
        self.watched.iter().find(|watched| watched.point == point)
    }
}

/// Why a hook cannot be set.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// No buffer ever holds these values.
    #[error(
        "{point}: the fused GPU kernels never write it; hooks can be at embedding, query, key, \
         value, head output, hidden and residual of a layer, and logits; for other places use \
         --device cpu"
    )]
    NotOnGpu {
        /// The place that was asked for.
        point: HookPoint,
    },
    /// A layer that the model does not have.
    #[error("{point}: the model has {layers} layers, counted from 0")]
    Layer {
        /// The place that was asked for.
        point: HookPoint,
        /// Layers of the model.
        layers: u32,
    },
    /// Columns that the step does not have.
    #[error(
        "{point}: columns {} to {} (not included), but the step has {available} there",
        columns.start,
        columns.end
    )]
    Columns {
        /// The place that was asked for.
        point: HookPoint,
        /// The columns that were asked for.
        columns: Range<u32>,
        /// Columns of the step; those that want logits, at the logits.
        available: u32,
    },
    /// A column whose keys and values have no place in the cache.
    #[error(
        "{point}: position {position} of slot {slot} is outside of the cache's {slots} x {context}"
    )]
    Cache {
        /// The place that was asked for.
        point: HookPoint,
        /// The column's sequence, by its slot.
        slot: u32,
        /// Its position there, from 0.
        position: u32,
        /// Sequences of the cache.
        slots: u32,
        /// Positions that each sequence may have.
        context: u32,
    },
    /// Too few or too many values to replace or to add.
    #[error("{point}: {found} values for {columns} columns of {features}")]
    Values {
        /// The place that was asked for.
        point: HookPoint,
        /// How many were given.
        found: usize,
        /// Columns that are to be changed.
        columns: u32,
        /// Values that each of them needs.
        features: u32,
    },
    /// The best logits are known when logits are, and a token is sampled from both.
    #[error("logits can be watched on the GPU but not changed; a request's biases change them")]
    ChangedLogits,
    /// More is watched than a buffer of the device holds.
    #[error("{size} bytes are watched in one step; a buffer of the device holds {most}")]
    TooMuch {
        /// Bytes of all watched values.
        size: u64,
        /// Bytes of the device's largest buffer.
        most: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_without_a_buffer_is_told_with_those_that_have_one() {
        let error = HookError::NotOnGpu { point: HookPoint::Gate(3) }.to_string();
        for part in [
            "gate of layer 3",
            "embedding",
            "query",
            "key",
            "value",
            "head output",
            "hidden",
            "residual",
            "logits",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
