//! What Q4_K and Q5_K share: the scales of their groups, which are small integers times one half
//! float of the block. An `f32` holds the product exactly.

use super::format::half_at;

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

/// Packs scales and minima of six bits into their 12 bytes.
pub(super) fn pack(scales: &[u8; 8], minima: &[u8; 8], bytes: &mut [u8]) {
    for i in 0..4 {
        bytes[i] = scales[i] | (scales[i + 4] >> 4) << 6;
        bytes[i + 4] = minima[i] | (minima[i + 4] >> 4) << 6;
        bytes[i + 8] = scales[i + 4] & 0x0f | (minima[i + 4] & 0x0f) << 4;
    }
}

/// Makes scales and minima of some groups 0 in their 12 bytes.
pub(super) fn silence(bytes: &mut [u8], groups: std::ops::Range<usize>) {
    let (mut scales, mut minima) = ([0; 8], [0; 8]);
    for i in 0..4 {
        (scales[i], minima[i]) = (bytes[i] & 0x3f, bytes[i + 4] & 0x3f);
        scales[i + 4] = bytes[i + 8] & 0x0f | (bytes[i] >> 2) & 0x30;
        minima[i + 4] = bytes[i + 8] >> 4 | (bytes[i + 4] >> 2) & 0x30;
    }
    scales[groups.clone()].fill(0);
    minima[groups].fill(0);
    pack(&scales, &minima, bytes);
}

/// Scale and base of a weight.
pub(super) fn meaning(block: &[u8], index: usize) -> (f32, f32) {
    let head = block.first_chunk().expect("these blocks begin with 16 bytes of scales");
    let (scale, minimum) = scaled_groups(head)[index / 32];
    // These blocks subtract their minimum, where Q4_1 and Q5_1 add it.
    (scale, -minimum)
}
