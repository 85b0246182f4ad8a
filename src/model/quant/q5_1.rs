//! Q5_1: scale (2 bytes), minimum (2), fifth bits (4), values (16): `scale * value + minimum`.

use super::fifth_bit::{five_bits, place};
use super::format::{BlockFormat, Weight, each_block, half_at};
use crate::model::planes::Plane;

pub(super) static FORMAT: BlockFormat = BlockFormat {
    name: "Q5_1",
    block_len: 32,
    block_bytes: 24,
    planes: &[Plane { source: 8..24 }, Plane { source: 4..8 }, Plane { source: 0..4 }],
    half_floats: &[0, 2],
    decode: |bytes, out| each_block(bytes, out, decode),
    weight: Weight::Code {
        bits: |index| place(4, index),
        meaning: |block, _| (half_at(block, 0), half_at(block, 2)),
        flip: 0,
    },
};

fn decode(block: &[u8; 24], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let minimum = half_at(block, 2);
    let values = five_bits(
        block[4..].first_chunk().expect("a Q5_1 block ends with 20 bytes of bits and values"),
    );
    for i in 0..32 {
        out[i] = scale * f32::from(values[i]) + minimum;
    }
}
