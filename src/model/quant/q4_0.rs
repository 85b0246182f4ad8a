//! Q4_0: scale (2 bytes), values (16): `scale * (value - 8)`. Byte i of the values holds weight i
//! in its low half and weight i + 16 in its high half.

use super::format::{Bits, BlockFormat, Weight, around, each_block, half_at};
use crate::model::planes::Plane;

pub(super) static FORMAT: BlockFormat = BlockFormat {
    name: "Q4_0",
    block_len: 32,
    block_bytes: 18,
    planes: &[Plane { source: 2..18 }, Plane { source: 0..2 }],
    half_floats: &[0],
    decode: |bytes, out| each_block(bytes, out, decode),
    weight: Weight::Code {
        bits: |index| [Bits::halves(2, index), Bits::default()],
        meaning: |block, _| around(half_at(block, 0), 8.0),
        flip: 0,
    },
};

fn decode(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let values: &[u8; 16] =
        block[2..].first_chunk().expect("a Q4_0 block ends with 16 bytes of values");
    for i in 0..16 {
        out[i] = scale * (i32::from(values[i] & 0x0f) - 8) as f32;
        out[i + 16] = scale * (i32::from(values[i] >> 4) - 8) as f32;
    }
}
