//! Signed bytes, a scale.

use super::nibbles::scales;
use super::{Planes, Quants};
use crate::forward::cpu::lanes::{line, split_texels};

#[inline(always)]
pub fn unpack(planes: &Planes<'_>, chunk: usize, out: &mut Quants) {
    let (texels, _) = out.bytes.as_chunks_mut::<4>();
    for (texel, words) in texels.iter_mut().enumerate() {
        split_texels(line(planes[0], 2 * chunk + texel), words);
    }
    scales(planes[1], chunk, 0.0, out);
    out.signed = true;
}
