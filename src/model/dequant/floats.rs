//! The plain floats: every weight on its own.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// IEEE single precision: the bytes are the value.
pub(super) fn f32(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = f32::from_le_bytes(*bytes);
    }
}

/// IEEE half precision. The bytes may lie at an odd address, so they pass through a small aligned
/// buffer, from which whole groups are converted by the processor's own instruction where it has
/// one.
pub(super) fn f16(bytes: &[u8], out: &mut [f32]) {
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

/// The upper half of IEEE single precision: the lower half is zero.
pub(super) fn bf16(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    }
}
