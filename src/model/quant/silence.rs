//! Weights that become nothing, exactly: whole blocks, or whole groups of a block that has a scale
//! for each. What is beside them stays bit for bit.

use std::ops::Range;

use super::{Encoding, k_scales};

impl Encoding {
    /// The least run of weights that can become nothing without touching others.
    #[must_use]
    pub const fn silent_unit(self) -> usize {
        match self {
            Self::Q4_K | Self::Q5_K => 32,
            Self::Q6_K => 16,
            _ => self.block_len(),
        }
    }
}

/// Makes the weights of some columns of a row nothing. The row is as a GGUF file has it.
///
/// # Panics
/// The columns are not in the row, or do not begin and end at [`Encoding::silent_unit`]s.
pub fn silence(encoding: Encoding, row: &mut [u8], columns: Range<usize>) {
    let (unit, block_len) = (encoding.silent_unit(), encoding.block_len());
    assert!(columns.start.is_multiple_of(unit) && columns.end.is_multiple_of(unit));
    let first = columns.start / block_len;
    let blocks = row.chunks_exact_mut(encoding.block_bytes()).enumerate();
    let last = columns.end.div_ceil(block_len);
    for (at, block) in blocks.skip(first).take(last - first) {
        let within = columns.start.max(at * block_len)..columns.end.min((at + 1) * block_len);
        let within = within.start - at * block_len..within.end - at * block_len;
        // A block of zero bytes has scales of zero, and so has nothing but zeros.
        if within.len() == block_len {
            block.fill(0);
            continue;
        }
        let groups = within.start / unit..within.end / unit;
        match encoding {
            Encoding::Q4_K | Encoding::Q5_K => k_scales::silence(&mut block[4..16], groups),
            Encoding::Q6_K => block[192..208][groups].fill(0),
            _ => unreachable!("the unit of the other encodings is a block"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::quant::{dequantize, encode};

    #[test]
    fn a_run_becomes_nothing_and_the_rest_stays() {
        let weights: Vec<f32> = (0..512).map(|i| ((i * 37 % 101) as f32 - 50.0) / 40.0).collect();
        let all = Encoding::ALL.into_iter();
        for encoding in
            all.filter(|it| !matches!(it, Encoding::F32 | Encoding::F16 | Encoding::BF16))
        {
            let row = encode(encoding, &weights, None).unwrap();
            let (mut before, mut after) = (vec![0.0; 512], vec![0.0; 512]);
            dequantize(encoding, &row, &mut before);
            for columns in [0..32, 224..288, 64..128, 256..512, 480..512] {
                let mut muted = row.clone();
                silence(encoding, &mut muted, columns.clone());
                dequantize(encoding, &muted, &mut after);
                for (at, (before, after)) in before.iter().zip(&after).enumerate() {
                    let expected = if columns.contains(&at) { 0.0 } else { *before };
                    assert_eq!(*after, expected, "{encoding} {columns:?} {at}");
                }
            }
        }
    }
}
