//! What Q5_0 and Q5_1 share: 32 values of 5 bits in a word of fifth bits and 16 bytes of low bits.
//!
//! Byte i of the low bits holds weight i in its low half and weight i + 16 in its high half. The
//! fifth bit of weight i is bit i of the word.

use super::format::Bits;

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

pub(super) fn five_bits(packed: &[u8; 20]) -> [u8; 32] {
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

/// Where the bits of value `i` lie, in a block whose word begins at byte `word`.
pub(super) fn place(word: usize, i: usize) -> [Bits; 2] {
    [Bits::halves(word + 4, i), Bits::fifth(word + i / 8, i % 8)]
}
