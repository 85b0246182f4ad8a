//! Sequences as the columns of passes: whole sequences side by side, as many as there is room for.

use super::params::NONE;
use crate::training::Sequence;

/// The columns of one pass, as the kernels read them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SequencePass {
    /// Two quads of words for each column.
    words: Vec<[u32; 4]>,
    /// The columns that have a target.
    pub wanted: Vec<u32>,
    /// The sequence of each of them, and what its target counts.
    pub targets: Vec<(usize, f32)>,
}

impl SequencePass {
    /// Columns.
    pub fn columns(&self) -> u32 {
        (self.words.len() / 2) as u32
    }

    /// Appends a sequence whose targets are multiplied with `factor`.
    fn push(&mut self, index: usize, sequence: &Sequence, factor: f64) {
        let first = self.columns();
        let end = first + sequence.columns() as u32;
        for (position, pair) in (0..).zip(sequence.tokens.windows(2)) {
            let is_target = sequence.is_target[position + 1];
            let place = if is_target { self.wanted.len() as u32 } else { NONE };
            if is_target {
                self.wanted.push(first + position as u32);
                self.targets.push((index, sequence.weight));
            }
            let count = (f64::from(sequence.weight) * factor) as f32;
            self.words.push([pair[0], position as u32, first, end]);
            self.words.push([pair[1], count.to_bits(), place, 0]);
        }
    }

    /// The words that the kernels read: of the pass, then of its columns.
    pub fn words(&self, begins: bool) -> Vec<[u32; 4]> {
        let counts = [self.columns(), self.wanted.len() as u32, u32::from(begins), u32::MAX];
        std::iter::once(counts).chain(self.words.iter().copied()).collect()
    }
}

/// Cuts sequences into passes of at most so many columns. Each target counts its weight times
/// `factor`.
pub fn passes(sequences: &[Sequence], columns: usize, factor: f64) -> Vec<SequencePass> {
    let mut passes = Vec::new();
    let mut pass = SequencePass::default();
    for (index, sequence) in sequences.iter().enumerate() {
        if sequence.targets() == 0 {
            continue;
        }
        if pass.columns() as usize + sequence.columns() > columns && pass.columns() > 0 {
            passes.push(std::mem::take(&mut pass));
        }
        pass.push(index, sequence, factor);
    }
    passes.extend((pass.columns() > 0).then_some(pass));
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_stay_whole_and_know_their_ends() {
        let sequence = |count: u32, first| Sequence::from_first_target((0..count).collect(), first);
        let sequences = [sequence(5, 2), sequence(4, 1), sequence(3, 1)];
        let passes = passes(&sequences, 8, 0.5);
        assert_eq!(passes.iter().map(SequencePass::columns).collect::<Vec<_>>(), [7, 2]);
        assert_eq!(passes[0].wanted, [1, 2, 3, 4, 5, 6]);
        let words = passes[0].words(true);
        assert_eq!(words[0], [7, 6, 1, u32::MAX]);
        assert_eq!(words[1], [0, 0, 0, 4]);
        assert_eq!(words[2], [1, 0.5f32.to_bits(), NONE, 0], "its next token is no target");
        assert_eq!(words[3], [1, 1, 0, 4]);
        assert_eq!(words[4], [2, 0.5f32.to_bits(), 0, 0]);
        assert_eq!(words[9], [0, 0, 4, 7], "another sequence begins at position 0");
        assert_eq!(passes[1].targets, [(2, 1.0), (2, 1.0)]);
    }
}
