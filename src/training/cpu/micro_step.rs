//! The columns of a micro-step: sequences side by side, each with its own positions and keys.

use std::ops::Range;

use crate::forward::cpu::Column;
use crate::forward::cpu::rope::Rotation;
use crate::training::Sequence;

/// A column whose next token is a target.
#[derive(Debug, Clone, Copy)]
pub struct WantedTarget {
    /// Which column predicts it.
    pub column: usize,
    /// What should come.
    pub token: u32,
    /// What it counts.
    pub weight: f32,
    /// Index of its sequence in the step.
    pub sequence: usize,
}

/// Columns that are computed together.
#[derive(Debug)]
pub struct MicroStep {
    /// All tokens but the last of each sequence.
    pub columns: Vec<Column>,
    /// The columns of each sequence.
    pub sequences: Vec<Range<usize>>,
    /// Cosine and sine of every pair for every column.
    pub angles: Vec<[f32; 2]>,
    /// In the order of their columns.
    pub targets: Vec<WantedTarget>,
    /// How many columns of the step came before: what is drawn for a column hangs on its place in
    /// the step.
    pub first_column: usize,
}

impl MicroStep {
    /// The columns of some sequences, the first of which is sequence `first` of the step.
    pub fn new(
        sequences: &[Sequence],
        first: usize,
        first_column: usize,
        rotation: &Rotation,
    ) -> Self {
        let mut columns = Vec::new();
        let (mut ranges, mut targets, mut angles) = (Vec::new(), Vec::new(), Vec::new());
        for (slot, sequence) in sequences.iter().enumerate() {
            let start = columns.len();
            for (position, &token) in (0..).zip(&sequence.tokens[..sequence.columns()]) {
                let next = position as usize + 1;
                let is_target = sequence.is_target[next];
                if is_target {
                    targets.push(WantedTarget {
                        column: columns.len(),
                        token: sequence.tokens[next],
                        weight: sequence.weight,
                        sequence: first + slot,
                    });
                }
                columns.push(Column {
                    token,
                    slot: slot as u32,
                    position,
                    wants_logits: is_target,
                });
            }
            ranges.push(start..columns.len());
        }
        rotation.angles(&columns, &mut angles);
        Self { columns, sequences: ranges, angles, targets, first_column }
    }

    /// Cosines and sines of a column.
    pub fn angles_of(&self, column: usize) -> &[[f32; 2]] {
        let pairs = self.angles.len() / self.columns.len();
        &self.angles[column * pairs..][..pairs]
    }
}
