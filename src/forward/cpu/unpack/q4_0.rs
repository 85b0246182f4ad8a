//! Nibbles from -8, a scale.

use super::nibbles::{nibbles, scales};
use super::{Planes, Quants};

#[inline(always)]
pub fn unpack(planes: &Planes<'_>, chunk: usize, out: &mut Quants) {
    nibbles(planes[0], chunk, out);
    scales(planes[1], chunk, -8.0, out);
}
