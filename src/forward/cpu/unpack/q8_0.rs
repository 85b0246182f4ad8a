//! Signed bytes, a scale.

use super::nibbles::scales;
use super::{CHUNKS, Planes, Quants};
use crate::forward::cpu::lanes::line;
use crate::forward::cpu::processor::Processor;

#[inline(always)]
pub fn unpack<P: Processor>(
    processor: P,
    planes: &Planes<'_>,
    block: usize,
    chunks: usize,
    out: &mut Quants,
) {
    for (chunk, bytes) in out.bytes[..chunks].iter_mut().enumerate() {
        for (texel, words) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let index = 2 * (block * CHUNKS + chunk) + texel;
            processor.split_texels(line(planes[0], index), words);
        }
    }
    scales(processor, planes[1], (block, chunks), 0.0, out);
}
