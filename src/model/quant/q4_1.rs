//! Q4_1: scale (2 bytes), minimum (2), values (16): `scale * value + minimum`. Byte i of the values
//! holds weight i in its low half and weight i + 16 in its high half.

use super::format::{Bits, BlockFormat, Weight, each_block, half_at};
use crate::model::planes::Plane;

pub(super) static FORMAT: BlockFormat = BlockFormat {
    name: "Q4_1",
    block_len: 32,
    block_bytes: 20,
    planes: &[Plane { source: 4..20 }, Plane { source: 0..4 }],
    half_floats: &[0, 2],
    decode: |bytes, out| each_block(bytes, out, decode),
    weight: Weight::Code {
        bits: |index| [Bits::halves(4, index), Bits::default()],
        meaning: |block, _| (half_at(block, 0), half_at(block, 2)),
        flip: 0,
    },
};

fn decode(block: &[u8; 20], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let minimum = half_at(block, 2);
    let values: &[u8; 16] =
        block[4..].first_chunk().expect("a Q4_1 block ends with 16 bytes of values");
    for i in 0..16 {
        out[i] = scale * f32::from(values[i] & 0x0f) + minimum;
        out[i + 16] = scale * f32::from(values[i] >> 4) + minimum;
    }
}
