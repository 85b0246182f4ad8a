//! The blocks of 256 weights in groups with scales of their own: Q4_K, Q5_K and Q6_K.
//!
//! The scales of the groups are small integers times one half float of the block, which an `f32`
//! holds exactly.

use super::half_at;

/// Scale and scale of minima (2 bytes each), packed scales and minima (12), values (128). Group g
/// of 32 weights lies in bytes 32 (g / 2) and on, in the low half where g is even and in the high
/// half where it is odd.
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let groups =
        scaled_groups(block.first_chunk().expect("a Q4_K block begins with 16 bytes of scales"));
    let (pairs, _) = block[16..].as_chunks::<32>();
    let (outs, _) = out.as_chunks_mut::<32>();
    for (g, (out, (scale, minimum))) in outs.iter_mut().zip(groups).enumerate() {
        let values = &pairs[g / 2];
        let shift = 4 * (g % 2);
        for i in 0..32 {
            out[i] = scale * f32::from((values[i] >> shift) & 0x0f) - minimum;
        }
    }
}

/// As Q4_K, with 32 bytes of fifth bits before the values: bit g of byte i belongs to weight i of
/// group g.
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let groups =
        scaled_groups(block.first_chunk().expect("a Q5_K block begins with 16 bytes of scales"));
    let fifth: &[u8; 32] =
        block[16..].first_chunk().expect("a Q5_K block has 32 bytes of fifth bits");
    let (pairs, _) = block[48..].as_chunks::<32>();
    let (outs, _) = out.as_chunks_mut::<32>();
    for (g, (out, (scale, minimum))) in outs.iter_mut().zip(groups).enumerate() {
        let values = &pairs[g / 2];
        let shift = 4 * (g % 2);
        for i in 0..32 {
            let value = (values[i] >> shift) & 0x0f | ((fifth[i] >> g) & 1) << 4;
            out[i] = scale * f32::from(value) - minimum;
        }
    }
}

/// Low four bits (128 bytes), high two bits (64), signed scales (16), scale (2). Each half of 128
/// weights is four groups of 32: the low bits of groups 0 and 1 are the low halves of 64 bytes,
/// those of groups 2 and 3 the high halves of the same bytes; the high bits of group g are bits 2 g
/// and 2 g + 1 of 32 bytes. Every 16 weights have a scale.
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let (low, _) = block[..128].as_chunks::<32>();
    let (high, _) = block[128..192].as_chunks::<32>();
    let scale_of_block = half_at(block, 208);
    let (scales, _) = block[192..208].as_chunks::<2>();
    let (outs, _) = out.as_chunks_mut::<32>();
    for (g, (out, scales)) in outs.iter_mut().zip(scales).enumerate() {
        let (half, group) = (g / 4, g % 4);
        let low = &low[2 * half + group % 2];
        let high = &high[half];
        let (low_shift, high_shift) = (4 * (group / 2), 2 * group);
        let (outs, _) = out.as_chunks_mut::<16>();
        for (s, (out, scale)) in outs.iter_mut().zip(scales).enumerate() {
            let scale = scale_of_block * f32::from(scale.cast_signed());
            for i in 0..16 {
                let low = (low[16 * s + i] >> low_shift) & 0x0f;
                let high = (high[16 * s + i] >> high_shift) & 0x03;
                out[i] = scale * (i32::from(low | high << 4) - 32) as f32;
            }
        }
    }
}

/// The scale and the minimum of each of the eight groups, from the first 16 bytes of a Q4_K or Q5_K
/// block.
///
/// The 6-bit integers are packed in 12 bytes: those of groups 0 to 3 are the low six bits of bytes
/// 0 to 3 (scales) and 4 to 7 (minima); those of groups 4 to 7 have their low four bits in bytes 8
/// to 11 (scales in the low half, minima in the high half) and their high two bits at the top of
/// bytes 0 to 7.
pub(super) fn scaled_groups(head: &[u8; 16]) -> [(f32, f32); 8] {
    let scale = half_at(head, 0);
    let minimum = half_at(head, 2);
    let (scales, minima, rest) = (&head[4..8], &head[8..12], &head[12..16]);
    let mut groups = [(0.0, 0.0); 8];
    for i in 0..4 {
        groups[i] = (scale * f32::from(scales[i] & 0x3f), minimum * f32::from(minima[i] & 0x3f));
        groups[i + 4] = (
            scale * f32::from(rest[i] & 0x0f | (scales[i] >> 2) & 0x30),
            minimum * f32::from(rest[i] >> 4 | (minima[i] >> 2) & 0x30),
        );
    }
    groups
}
