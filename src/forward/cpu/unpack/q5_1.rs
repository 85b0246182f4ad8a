//! Five bits, a scale and a minimum.

use super::nibbles::{fifth_bits, nibbles, scales_and_minima};
use super::{Planes, Quants};

#[inline(always)]
pub fn unpack(planes: &Planes<'_>, chunk: usize, out: &mut Quants) {
    nibbles(planes[0], chunk, out);
    fifth_bits(planes[1], chunk, out);
    scales_and_minima(planes[2], chunk, out);
}
