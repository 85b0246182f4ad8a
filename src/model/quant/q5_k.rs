//! Q5_K: as Q4_K, with 32 bytes of fifth bits before the values: bit g of byte i belongs to weight
//! i of group g.

use super::format::{Bits, BlockFormat, Weight, each_block};
use super::k_scales::{meaning, scaled_groups};
use crate::model::planes::Plane;

pub(super) static FORMAT: BlockFormat = BlockFormat {
    name: "Q5_K",
    block_len: 256,
    block_bytes: 176,
    planes: &[Plane { source: 48..176 }, Plane { source: 16..48 }, Plane { source: 0..16 }],
    half_floats: &[0, 2],
    decode: |bytes, out| each_block(bytes, out, decode),
    weight: Weight::Code {
        bits: |index| {
            let (group, i) = (index / 32, index % 32);
            let low = Bits::low(48 + 32 * (group / 2) + i, 4 * (group % 2));
            [low, Bits::fifth(16 + i, group)]
        },
        meaning,
        flip: 0,
    },
};

fn decode(block: &[u8; 176], out: &mut [f32; 256]) {
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
