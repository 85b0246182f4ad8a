//! The plain floats F32, F16 and BF16: every weight on its own.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::format::{BlockFormat, Weight};
use crate::model::planes::Plane;

/// IEEE single precision: the bytes are the value.
pub(super) static F32: BlockFormat = BlockFormat {
    name: "F32",
    block_len: 1,
    block_bytes: 4,
    planes: &[Plane { source: 0..4 }],
    half_floats: &[],
    decode: decode_f32,
    weight: Weight::Float { write: |wanted, block| block.copy_from_slice(&wanted.to_le_bytes()) },
};

pub(super) static F16: BlockFormat = BlockFormat {
    name: "F16",
    block_len: 1,
    block_bytes: 2,
    planes: &[Plane { source: 0..2 }],
    half_floats: &[0],
    decode: decode_f16,
    weight: Weight::Float {
        write: |wanted, block| {
            // Clamped: what is too large would become infinite, which a model file may not have.
            let half = f16::from_f32(wanted.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
            block.copy_from_slice(&half.to_le_bytes());
        },
    },
};

/// The upper half of IEEE single precision: the lower half is zero.
pub(super) static BF16: BlockFormat = BlockFormat {
    name: "BF16",
    block_len: 1,
    block_bytes: 2,
    planes: &[Plane { source: 0..2 }],
    // A bfloat16 is no IEEE half.
    half_floats: &[],
    decode: decode_bf16,
    weight: Weight::Float {
        write: |wanted, block| {
            // As with F16: the largest floats would round to infinity.
            let half = bf16::from_f32(wanted.clamp(bf16::MIN.to_f32(), bf16::MAX.to_f32()));
            block.copy_from_slice(&half.to_le_bytes());
        },
    },
};

fn decode_f32(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = f32::from_le_bytes(*bytes);
    }
}

/// The bytes may lie at an odd address, so they pass through a small aligned buffer, from which
/// whole groups are converted by the processor's own instruction where it has one.
fn decode_f16(bytes: &[u8], out: &mut [f32]) {
    const GROUP: usize = 256;
    let mut halves = [f16::ZERO; GROUP];
    for (bytes, out) in bytes.chunks(2 * GROUP).zip(out.chunks_mut(GROUP)) {
        let halves = &mut halves[..out.len()];
        for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
            *half = f16::from_le_bytes(*bytes);
        }
        halves.convert_to_f32_slice(out);
    }
}

fn decode_bf16(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    }
}
