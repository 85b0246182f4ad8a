//! What an encoding says of itself: each file beside this one has the [`BlockFormat`] of the
//! encoding of its name.

use half::f16;

use crate::model::planes::Plane;

/// An encoding but for its number.
pub(super) struct BlockFormat {
    /// The name the field uses.
    pub name: &'static str,
    /// Weights in a block.
    pub block_len: usize,
    /// Bytes in a block.
    pub block_bytes: usize,
    /// How a block's bytes lie in a tile: its planes in the order in which a row group stores them.
    pub planes: &'static [Plane],
    /// Where in a block half floats lie: its scales.
    pub half_floats: &'static [usize],
    /// Writes the weights of whole blocks.
    pub decode: fn(&[u8], &mut [f32]),
    /// What one weight is in a block.
    pub weight: Weight,
}

/// What one weight is in a block.
pub(super) enum Weight {
    /// A float, which this writes.
    Float { write: fn(f32, &mut [u8]) },
    /// Some bits, whose meaning a scale of the block gives.
    Code {
        /// Where the code of a weight lies: its low bits, then those above them, if any.
        bits: fn(usize) -> [Bits; 2],
        /// Scale and base of a weight: its value is `scale * code + base`, with codes from 0.
        meaning: fn(&[u8], usize) -> (f32, f32),
        /// The bits of a code that are stored as their opposite, so that codes count from 0.
        flip: u32,
    },
}

/// Some bits of a weight's code: where in the block they lie, and where in the code they belong.
#[derive(Clone, Copy, Default)]
pub(super) struct Bits {
    pub byte: usize,
    pub shift: usize,
    pub width: usize,
    pub at: usize,
}

impl Bits {
    /// The four low bits of a code, in a byte from bit `shift` on.
    pub fn low(byte: usize, shift: usize) -> Self {
        Self { byte, shift, width: 4, at: 0 }
    }

    /// The low bits of weight `i` of 32, where byte i of 16 holds weight i in its low half and
    /// weight i + 16 in its high half.
    pub fn halves(first: usize, i: usize) -> Self {
        Self::low(first + i % 16, 4 * (i / 16))
    }

    /// The fifth bit of a code, which is bit `shift` of a byte.
    pub(crate) fn fifth(byte: usize, shift: usize) -> Self {
        Self { byte, shift, width: 1, at: 4 }
    }

    /// What the byte is masked with when the bits are at its end.
    pub(crate) fn mask(self) -> u8 {
        // In 16 bits, since Q8_0 has eight bits and a byte shifted by eight overflows.
        ((1u16 << self.width) - 1) as u8
    }
}

/// Scale and base of codes of which `zero` stands for 0.
pub(super) fn around(scale: f32, zero: f32) -> (f32, f32) {
    (scale, -zero * scale)
}

/// Applies `decode` to every block. `BYTES` and `LEN` are those of the encoding, inferred from
/// `decode`.
pub(super) fn each_block<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    // The rest is empty: `dequantize` has compared both lengths with the shape.
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let (outs, _) = out.as_chunks_mut::<LEN>();
    for (block, out) in blocks.iter().zip(outs) {
        decode(block, out);
    }
}

/// The half float at `offset` of a block.
pub(super) fn half_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}
