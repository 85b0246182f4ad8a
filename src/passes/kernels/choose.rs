//! The greedy choice, fed back.

use super::{
    KernelSource,
    layout::{Bound::*, layout},
};
use crate::passes::params::ChooseParams;

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "choose",
    layout: || layout("choose", &[Params(size_of::<ChooseParams>()), Read, Read, Write, Write]),
    variants: || vec![vec![]],
};
