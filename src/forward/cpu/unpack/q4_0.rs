//! Nibbles from -8, a scale.

use super::nibbles::{nibbles, scales};
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
    scales(processor, planes[1], (block, chunks), -8.0, out);
}
