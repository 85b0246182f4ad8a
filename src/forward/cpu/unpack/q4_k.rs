//! Nibbles; per chunk a scale and a minimum of 6 bits, times a half each per block.

use super::k_scales::{nibbles, six_bit_scales};
use super::{Planes, Quants};

#[inline(always)]
pub fn unpack(planes: &Planes<'_>, chunk: usize, out: &mut Quants) {
    nibbles(planes[0], chunk, out);
    six_bit_scales(planes[1], chunk, out);
}
