//! Q8_0: scale (2 bytes), signed values (32): `scale * value`.

use super::format::{Bits, BlockFormat, Weight, around, each_block, half_at};
use crate::model::planes::Plane;

pub(super) static FORMAT: BlockFormat = BlockFormat {
    name: "Q8_0",
    block_len: 32,
    block_bytes: 34,
    planes: &[Plane { source: 2..34 }, Plane { source: 0..2 }],
    half_floats: &[0],
    decode: |bytes, out| each_block(bytes, out, decode),
    weight: Weight::Code {
        bits: |index| [Bits { byte: 2 + index, shift: 0, width: 8, at: 0 }, Bits::default()],
        meaning: |block, _| around(half_at(block, 0), 128.0),
        // A signed byte without its sign counts from 0 to 255.
        flip: 0x80,
    },
};

fn decode(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let values: &[u8; 32] =
        block[2..].first_chunk().expect("a Q8_0 block ends with 32 bytes of values");
    for i in 0..32 {
        out[i] = scale * f32::from(values[i].cast_signed());
    }
}
