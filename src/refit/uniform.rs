//! The control of a refit: all matrices in one encoding.

use crate::model::rewrite::{matrices, size_in};
use crate::model::{Encoding, PixelModel};

/// Encodings to choose from, the smallest first.
pub const ENCODINGS: [Encoding; 8] = [
    Encoding::Q4_0,
    Encoding::Q4_K,
    Encoding::Q4_1,
    Encoding::Q5_0,
    Encoding::Q5_K,
    Encoding::Q5_1,
    Encoding::Q6_K,
    Encoding::Q8_0,
];

/// The one encoding of all matrices, of these, in which the tensors take so many bytes or the next
/// more, and that of each tensor; `None` where none takes as many.
pub fn uniform(
    model: &PixelModel,
    encodings: &[Encoding],
    bytes: u64,
) -> Option<(Encoding, Vec<Encoding>)> {
    let all = encodings.iter().filter_map(|&encoding| {
        let mut of_tensors: Vec<Encoding> =
            model.tensors().iter().map(|tensor| tensor.encoding()).collect();
        for at in matrices(model) {
            size_in(model, at, encoding)?;
            of_tensors[at] = encoding;
        }
        let size = (0..of_tensors.len()).map(|at| size_in(model, at, of_tensors[at]).unwrap_or(0));
        Some((size.sum::<u64>(), encoding, of_tensors))
    });
    let enough = all.filter(|(size, ..)| *size >= bytes);
    enough.min_by_key(|(size, ..)| *size).map(|(_, encoding, of_tensors)| (encoding, of_tensors))
}
