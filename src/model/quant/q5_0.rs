//! Q5_0: scale (2 bytes), fifth bits (4), values (16): `scale * (value - 16)`.

use super::fifth_bit::{five_bits, place};
use super::format::{BlockFormat, Weight, around, each_block, half_at};
use crate::model::planes::Plane;

pub(super) static FORMAT: BlockFormat = BlockFormat {
    name: "Q5_0",
    block_len: 32,
    block_bytes: 22,
    planes: &[Plane { source: 6..22 }, Plane { source: 2..6 }, Plane { source: 0..2 }],
    half_floats: &[0],
    decode: |bytes, out| each_block(bytes, out, decode),
    weight: Weight::Code {
        bits: |index| place(2, index),
        meaning: |block, _| around(half_at(block, 0), 16.0),
        flip: 0,
    },
};

fn decode(block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let values = five_bits(
        block[2..].first_chunk().expect("a Q5_0 block ends with 20 bytes of bits and values"),
    );
    for i in 0..32 {
        out[i] = scale * (i32::from(values[i]) - 16) as f32;
    }
}
