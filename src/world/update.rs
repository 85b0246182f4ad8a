//! What adapters add to single weights: `f s B A` at a row and a column of a matrix, and its root
//! mean square over a block of them.

use std::ops::Range;
use std::sync::Arc;

use super::adapters::LoadedAdapters;
use crate::model::Adapter;

/// What all adapters that act add to one matrix.
#[derive(Debug, Clone)]
pub struct MatrixUpdate {
    parts: Vec<UpdatePart>,
    rows: usize,
    columns: usize,
}

#[derive(Debug, Clone)]
struct UpdatePart {
    adapter: Arc<Adapter>,
    /// Which of its updates.
    at: usize,
    /// Strength times scale.
    factor: f32,
}

impl MatrixUpdate {
    /// What is added to a tensor; none where no adapter acts on it.
    pub fn new(loaded: &LoadedAdapters, tensor: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut sizes = None;
        for (_, one) in loaded.acting_places() {
            let updates = one.adapter.updates.iter().enumerate();
            for (at, update) in updates.filter(|(_, update)| update.tensor == tensor) {
                let factor = one.strength * one.adapter.scale(update);
                parts.push(UpdatePart { adapter: Arc::clone(&one.adapter), at, factor });
                sizes = Some((update.outputs, update.inputs));
            }
        }
        let (rows, columns) = sizes?;
        Some(Self { parts, rows, columns })
    }

    /// What is added to a weight; 0 beyond the matrix.
    pub fn at(&self, row: usize, column: usize) -> f32 {
        if row >= self.rows || column >= self.columns {
            return 0.0;
        }
        let part = |part: &UpdatePart| {
            let update = &part.adapter.updates[part.at];
            let b = &update.b[row * update.rank..][..update.rank];
            let a = update.a[column..].iter().step_by(update.inputs);
            part.factor * b.iter().zip(a).map(|(b, a)| b * a).sum::<f32>()
        };
        self.parts.iter().map(part).sum()
    }

    /// Root mean square over a block: exact, and no more work than its sides.
    pub fn root_mean_square(&self, rows: Range<usize>, columns: Range<usize>) -> f32 {
        let count = rows.len() * columns.len();
        if count == 0 {
            return 0.0;
        }
        let (rows, columns) = (self.row_products(rows), self.column_products(columns));
        mean_of(&rows, &columns, count)
    }

    /// Over all of the matrix.
    pub fn spread(&self) -> f32 {
        self.root_mean_square(0..self.rows, 0..self.columns)
    }

    /// Ranks of all parts together.
    fn ranks(&self) -> usize {
        self.parts.iter().map(|part| part.adapter.updates[part.at].rank).sum()
    }

    /// `B^T B` of some rows, of all parts side by side.
    pub fn row_products(&self, rows: Range<usize>) -> Vec<f64> {
        let row = |row: usize| {
            let of = move |part: &UpdatePart| {
                let update = &part.adapter.updates[part.at];
                let b = &update.b[row * update.rank..][..update.rank];
                b.iter().map(|b| b * part.factor).collect::<Vec<f32>>()
            };
            self.parts.iter().flat_map(of).collect::<Vec<f32>>()
        };
        products(self.ranks(), rows.filter(|&at| at < self.rows).map(row))
    }

    /// `A A^T` of some columns, of all parts side by side.
    pub fn column_products(&self, columns: Range<usize>) -> Vec<f64> {
        let column = |column: usize| {
            let of = move |part: &UpdatePart| {
                let update = &part.adapter.updates[part.at];
                update.a[column..].iter().step_by(update.inputs).copied().collect::<Vec<f32>>()
            };
            self.parts.iter().flat_map(of).collect::<Vec<f32>>()
        };
        products(self.ranks(), columns.filter(|&at| at < self.columns).map(column))
    }
}

/// The root mean square of so many numbers, by the products of their rows and of their columns.
pub fn mean_of(rows: &[f64], columns: &[f64], count: usize) -> f32 {
    let sum: f64 = rows.iter().zip(columns).map(|(a, b)| a * b).sum();
    (sum.max(0.0) / count as f64).sqrt() as f32
}

fn products(ranks: usize, vectors: impl Iterator<Item = Vec<f32>>) -> Vec<f64> {
    let mut sums = vec![0.0; ranks * ranks];
    for vector in vectors {
        for (sums, a) in sums.chunks_exact_mut(ranks).zip(&vector) {
            for (sum, b) in sums.iter_mut().zip(&vector) {
                *sum += f64::from(*a) * f64::from(*b);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LowRank;
    use crate::model::config::Architecture;

    fn adapter(rank: usize, seed: u32) -> Adapter {
        let (inputs, outputs) = (6, 5);
        let number = |at: usize| {
            (((at as u32).wrapping_mul(2_654_435_761).wrapping_add(seed)) >> 16) as f32 / 65_536.0
                - 0.5
        };
        Adapter {
            architecture: Architecture::Llama,
            alpha: 3.0,
            updates: vec![LowRank {
                tensor: "w".into(),
                inputs,
                outputs,
                rank,
                a: (0..rank * inputs).map(number).collect(),
                b: (0..outputs * rank).map(|at| number(at + 77)).collect(),
            }],
            base: None,
            run: None,
        }
    }

    #[test]
    fn a_cell_has_the_sum_of_all_adapters_and_a_block_its_root_mean_square() {
        let mut loaded = LoadedAdapters::default();
        loaded.put("a", adapter(2, 1), 0.5);
        loaded.put("b", adapter(3, 9), -2.0);
        assert!(MatrixUpdate::new(&loaded, "other").is_none());
        let update = MatrixUpdate::new(&loaded, "w").unwrap();
        let by_hand = |row: usize, column: usize| {
            let of = |adapter: &Adapter, strength: f32| {
                let LowRank { rank, inputs, a, b, .. } = &adapter.updates[0];
                let sum: f32 = (0..*rank).map(|k| b[row * rank + k] * a[k * inputs + column]).sum();
                strength * (3.0 / *rank as f32) * sum
            };
            of(&loaded.all[0].adapter, 0.5) + of(&loaded.all[1].adapter, -2.0)
        };
        let mut squares = 0.0;
        for row in 1..4 {
            for column in 2..6 {
                let (found, expected) = (update.at(row, column), by_hand(row, column));
                assert!((found - expected).abs() < 1e-6, "{row} {column}: {found} {expected}");
                squares += expected * expected;
            }
        }
        let found = update.root_mean_square(1..4, 2..6);
        assert!((found - (squares / 12.0).sqrt()).abs() < 1e-5, "{found}");
        assert!(update.spread() > 0.0 && update.at(9, 0) == 0.0);
    }
}
