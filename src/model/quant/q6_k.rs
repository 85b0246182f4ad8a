//! Q6_K: low four bits (128 bytes), high two bits (64), signed scales (16), scale (2). Each half of
//! 128 weights is four groups of 32: the low bits of groups 0 and 1 are the low halves of 64 bytes,
//! those of groups 2 and 3 the high halves of the same bytes; the high bits of group g are bits 2 g
//! and 2 g + 1 of 32 bytes. Every 16 weights have a scale.

use super::format::{Bits, BlockFormat, Weight, around, each_block, half_at};
use crate::model::planes::Plane;

pub(super) static FORMAT: BlockFormat = BlockFormat {
    name: "Q6_K",
    block_len: 256,
    block_bytes: 210,
    planes: &[
        Plane { source: 0..128 },
        Plane { source: 128..192 },
        Plane { source: 192..208 },
        Plane { source: 208..210 },
    ],
    half_floats: &[208],
    decode: |bytes, out| each_block(bytes, out, decode),
    weight: Weight::Code { bits, meaning, flip: 0 },
};

fn bits(index: usize) -> [Bits; 2] {
    let (half, group, i) = (index / 128, index / 32 % 4, index % 32);
    let low = Bits::low(32 * (2 * half + group % 2) + i, 4 * (group / 2));
    [low, Bits { byte: 128 + 32 * half + i, shift: 2 * group, width: 2, at: 4 }]
}

fn meaning(block: &[u8], index: usize) -> (f32, f32) {
    around(half_at(block, 208) * f32::from(block[192 + index / 16].cast_signed()), 32.0)
}

fn decode(block: &[u8; 210], out: &mut [f32; 256]) {
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
                // The 32 is taken off in whole numbers, so that one product is all, and exact.
                out[i] = scale * (i32::from(low | high << 4) - 32) as f32;
            }
        }
    }
}
