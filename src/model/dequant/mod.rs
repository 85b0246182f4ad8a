//! Stored weights to `f32`: what every encoding means, in the order of a GGUF row.
//!
//! In: whole blocks as they lie in a GGUF tensor. Out: one `f32` per weight, equal bit for bit to
//! the values of the `gguf` Python package, which is the reference (tests/vectors). Products are
//! exact: a half float has 11 significant bits, a group's scale at most 7 and a value at most 5 (7
//! in Q8_0, which has no groups), together less than the 24 of an `f32`. Only adding a minimum
//! rounds, so a fused multiply-add, here or on a GPU, gives the same bits. The loops have constant
//! lengths and no branches, so that the compiler makes vector code of them.

mod code;
mod floats;
mod k_quants;
mod legacy;
mod nearest;

use half::f16;

use super::encoding::Encoding;

pub use code::{Code, code_of};
pub use nearest::set_nearest;

/// Writes the weights in `bytes`, whole blocks of `encoding` in GGUF order, to `out`.
///
/// # Panics
/// When `out` has not exactly one place per weight, or `bytes` is no whole number of blocks: the
/// caller sizes both from the same checked shape.
pub fn dequantize(encoding: Encoding, bytes: &[u8], out: &mut [f32]) {
    let blocks = out.len() / encoding.block_len();
    assert!(
        blocks * encoding.block_len() == out.len()
            && blocks * encoding.block_bytes() == bytes.len(),
        "{} bytes of {encoding} are not {} weights",
        bytes.len(),
        out.len()
    );
    match encoding {
        Encoding::F32 => floats::f32(bytes, out),
        Encoding::F16 => floats::f16(bytes, out),
        Encoding::BF16 => floats::bf16(bytes, out),
        Encoding::Q4_0 => each_block(bytes, out, legacy::q4_0),
        Encoding::Q4_1 => each_block(bytes, out, legacy::q4_1),
        Encoding::Q5_0 => each_block(bytes, out, legacy::q5_0),
        Encoding::Q5_1 => each_block(bytes, out, legacy::q5_1),
        Encoding::Q8_0 => each_block(bytes, out, legacy::q8_0),
        Encoding::Q4_K => each_block(bytes, out, k_quants::q4_k),
        Encoding::Q5_K => each_block(bytes, out, k_quants::q5_k),
        Encoding::Q6_K => each_block(bytes, out, k_quants::q6_k),
    }
}

/// Applies `decode` to every block. `BYTES` and `LEN` are those of the encoding, inferred from
/// `decode`.
fn each_block<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let (outs, _) = out.as_chunks_mut::<LEN>();
    for (block, out) in blocks.iter().zip(outs) {
        decode(block, out);
    }
}

/// The half float at `offset` of a block.
fn half_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}
