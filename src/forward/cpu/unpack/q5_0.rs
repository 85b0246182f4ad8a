//! Five bits from -16, a scale.

use super::nibbles::{fifth_bits, nibbles, scales};
use super::{Planes, Quants};

#[inline(always)]
pub fn unpack(planes: &Planes<'_>, chunk: usize, out: &mut Quants) {
    nibbles(planes[0], chunk, out);
    fifth_bits(planes[1], chunk, out);
    scales(planes[2], chunk, -16.0, out);
}
