//! Q4_K: 256 weights in eight groups: scale and scale of minima (2 bytes each), packed scales and
//! minima (12), values (128). Group g of 32 weights lies in bytes 32 (g / 2) and on, in the low
//! half where g is even and in the high half where it is odd.

use super::format::{Bits, BlockFormat, Weight, each_block};
use super::k_scales::{meaning, scaled_groups};
use crate::model::planes::Plane;

pub(super) static FORMAT: BlockFormat = BlockFormat {
    name: "Q4_K",
    block_len: 256,
    block_bytes: 144,
    planes: &[Plane { source: 16..144 }, Plane { source: 0..16 }],
    half_floats: &[0, 2],
    decode: |bytes, out| each_block(bytes, out, decode),
    weight: Weight::Code {
        bits: |index| {
            let (group, i) = (index / 32, index % 32);
            [Bits::low(16 + 32 * (group / 2) + i, 4 * (group % 2)), Bits::default()]
        },
        meaning,
        flip: 0,
    },
};

fn decode(block: &[u8; 144], out: &mut [f32; 256]) {
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
