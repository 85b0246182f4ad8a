//! Which encoding each matrix gets: the least sum of divergences within some bytes.
//!
//! Divergences are taken to add, which is an assumption: what is foretold is told beside what comes
//! of it. On the lower hull of a matrix's options each step costs more bytes per divergence than
//! the one before, so taking the best step of all matrices again and again is Lagrange's choice for
//! the bytes it ends at; what is left is filled by the best step that still fits.

use crate::model::Encoding;

/// A matrix in an encoding: what it takes and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MatrixOption {
    /// The encoding.
    pub encoding: Encoding,
    /// Bytes of the matrix.
    pub bytes: u64,
    /// Divergence with this matrix alone in it, in nats per token.
    pub divergence: f64,
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// For each matrix the place of its option.
    pub options: Vec<usize>,
    /// Bytes of all matrices.
    pub bytes: u64,
    /// The sum of their divergences.
    pub divergence: f64,
}

/// Chooses an option of each matrix within some bytes; `None` where the smallest do not fit.
pub fn choose(matrices: &[Vec<MatrixOption>], most_bytes: u64) -> Option<Choice> {
    let hulls: Vec<Vec<usize>> = matrices.iter().map(|options| hull(options)).collect();
    let mut at = vec![0; matrices.len()];
    let option = |matrix: usize, step: usize| &matrices[matrix][hulls[matrix][step]];
    let mut bytes: u64 = (0..matrices.len()).map(|matrix| option(matrix, 0).bytes).sum();
    if bytes > most_bytes {
        return None;
    }
    loop {
        let mut best: Option<(f64, usize, u64)> = None;
        for (matrix, &step) in at.iter().enumerate() {
            if step + 1 == hulls[matrix].len() {
                continue;
            }
            let (now, next) = (option(matrix, step), option(matrix, step + 1));
            let more = next.bytes - now.bytes;
            let gain = (now.divergence - next.divergence) / more as f64;
            if bytes + more <= most_bytes && best.is_none_or(|(most, ..)| gain > most) {
                best = Some((gain, matrix, more));
            }
        }
        let Some((_, matrix, more)) = best else { break };
        at[matrix] += 1;
        bytes += more;
    }
    let options: Vec<usize> = at.iter().zip(&hulls).map(|(&step, hull)| hull[step]).collect();
    let chosen = options.iter().zip(matrices).map(|(&option, options)| options[option].divergence);
    Some(Choice { divergence: chosen.sum(), options, bytes })
}

/// The options that no line between two others is better than, from the fewest bytes on.
fn hull(options: &[MatrixOption]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..options.len()).collect();
    order.sort_by(|&a, &b| {
        let key = |at: usize| (options[at].bytes, options[at].divergence);
        key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut hull: Vec<usize> = Vec::new();
    for at in order {
        let new = &options[at];
        if hull.last().is_some_and(|&last| options[last].divergence <= new.divergence) {
            continue;
        }
        while let [.., a, b] = hull[..] {
            let slope = |from: &MatrixOption, to: &MatrixOption| {
                (from.divergence - to.divergence) / (to.bytes - from.bytes) as f64
            };
            if slope(&options[a], &options[b]) > slope(&options[b], new) {
                break;
            }
            hull.pop();
        }
        hull.push(at);
    }
    hull
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn option(bytes: u64, divergence: f64) -> MatrixOption {
        MatrixOption { encoding: Encoding::Q4_0, bytes, divergence }
    }

    #[test]
    fn what_is_worth_its_bytes_comes_first() {
        let loud = vec![option(10, 1.0), option(20, 0.1)];
        let quiet = vec![option(10, 0.01), option(20, 0.001)];
        let matrices = [loud, quiet];
        assert_eq!(choose(&matrices, 19), None);
        assert_eq!(choose(&matrices, 30).unwrap().options, [1, 0]);
        assert_eq!(choose(&matrices, 40).unwrap().options, [1, 1]);
        // Larger and worse is never chosen.
        let odd = vec![option(10, 0.5), option(15, 0.9), option(20, 0.4)];
        assert_eq!(choose(&[odd], 18).unwrap().options, [0]);
    }

    proptest! {
        #[test]
        fn more_bytes_are_never_worse_and_no_choice_is_too_large(
            numbers in prop::collection::vec(
                prop::collection::vec((1..1000u64, 0.0..1.0f64), 1..5), 1..6),
            most in 1..6000u64,
        ) {
            let matrices: Vec<Vec<MatrixOption>> = numbers.iter().map(|options| {
                options.iter().map(|&(bytes, far)| option(bytes, far)).collect()
            }).collect();
            let least: u64 =
                matrices.iter().map(|o| o.iter().map(|o| o.bytes).min().unwrap()).sum();
            let (small, large) = (choose(&matrices, most), choose(&matrices, 2 * most));
            prop_assert_eq!(small.is_some(), least <= most);
            if let (Some(small), Some(large)) = (small, large) {
                prop_assert!(small.bytes <= most);
                prop_assert!(large.divergence <= small.divergence + 1e-12);
            }
        }
    }
}
