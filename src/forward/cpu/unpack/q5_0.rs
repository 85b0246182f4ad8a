//! Five bits from -16, a scale.

use super::nibbles::{fifth_bits, nibbles, scales};
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
    fifth_bits(processor, planes[1], (block, chunks), out);
    scales(processor, planes[2], (block, chunks), -16.0, out);
}
