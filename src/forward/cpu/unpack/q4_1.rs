//! Nibbles, a scale and a minimum.

use super::nibbles::{nibbles, scales_and_minima};
use super::{Planes, Quants};
use crate::forward::cpu::processor::Processor;

#[inline(always)]
pub fn unpack<P: Processor>(
    processor: P,
    planes: &Planes<'_>,
    block: usize,
    chunks: usize,
    out: &mut Quants,
) {
    nibbles(processor, planes[0], (block, chunks), out);
    scales_and_minima(processor, planes[1], (block, chunks), out);
}
