//! Nibbles; per chunk a scale and a minimum of 6 bits, times a half each per block.

use super::k_scales::{nibbles, six_bit_scales};
use super::{Planes, Quants};
use crate::forward::cpu::processor::Processor;

#[inline(always)]
pub fn unpack<P: Processor>(processor: P, planes: &Planes<'_>, block: usize, out: &mut Quants) {
    nibbles(processor, planes[0], block, out);
    six_bit_scales(processor, planes[1], block, out);
}
