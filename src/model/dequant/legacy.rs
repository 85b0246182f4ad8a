//! The blocks of 32 weights with one scale: Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0.
//!
//! Where weights are 4 or 5 bits, byte i of the values holds weight i in its low half and weight
//! i + 16 in its high half. A fifth bit is bit i of a 32-bit word.

use super::half_at;

/// Bit i of a word at place i: an AND with a table makes vector code where a shift by i would not.
const BITS: [u32; 32] = {
    let mut bits = [0; 32];
    let mut i = 0;
    while i < 32 {
        bits[i] = 1 << i;
        i += 1;
    }
    bits
};

/// Scale (2 bytes), values (16): `scale * (value - 8)`.
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let values: &[u8; 16] =
        block[2..].first_chunk().expect("a Q4_0 block ends with 16 bytes of values");
    for i in 0..16 {
        out[i] = scale * (i32::from(values[i] & 0x0f) - 8) as f32;
        out[i + 16] = scale * (i32::from(values[i] >> 4) - 8) as f32;
    }
}

/// Scale (2 bytes), minimum (2), values (16): `scale * value + minimum`.
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let minimum = half_at(block, 2);
    let values: &[u8; 16] =
        block[4..].first_chunk().expect("a Q4_1 block ends with 16 bytes of values");
    for i in 0..16 {
        out[i] = scale * f32::from(values[i] & 0x0f) + minimum;
        out[i + 16] = scale * f32::from(values[i] >> 4) + minimum;
    }
}

/// Scale (2 bytes), fifth bits (4), values (16): `scale * (value - 16)`.
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let values = five_bits(
        block[2..].first_chunk().expect("a Q5_0 block ends with 20 bytes of bits and values"),
    );
    for i in 0..32 {
        out[i] = scale * (i32::from(values[i]) - 16) as f32;
    }
}

/// Scale (2 bytes), minimum (2), fifth bits (4), values (16): `scale * value + minimum`.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let minimum = half_at(block, 2);
    let values = five_bits(
        block[4..].first_chunk().expect("a Q5_1 block ends with 20 bytes of bits and values"),
    );
    for i in 0..32 {
        out[i] = scale * f32::from(values[i]) + minimum;
    }
}

/// Scale (2 bytes), signed values (32): `scale * value`.
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let values: &[u8; 32] =
        block[2..].first_chunk().expect("a Q8_0 block ends with 32 bytes of values");
    for i in 0..32 {
        out[i] = scale * f32::from(values[i].cast_signed());
    }
}

/// The 32 values of 5 bits in a word of fifth bits and 16 bytes of low bits.
fn five_bits(packed: &[u8; 20]) -> [u8; 32] {
    let (word, low) = packed.split_first_chunk().expect("20 bytes begin with 4");
    let word = u32::from_le_bytes(*word);
    let mut values = [0; 32];
    for i in 0..16 {
        values[i] = low[i] & 0x0f;
        values[i + 16] = low[i] >> 4;
    }
    for i in 0..32 {
        values[i] |= u8::from(word & BITS[i] != 0) << 4;
    }
    values
}
