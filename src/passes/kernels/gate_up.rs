//! Norm, gate and up.

use super::{
    KernelSource,
    layout::{Bound::*, layout, per_encoding_and_columns},
};
use crate::passes::params::GateUpParams;

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "gate_up",
    layout: || layout("gate_up", &[Pages, Read, Read, Read, Params(size_of::<GateUpParams>()), Write]),
    variants: per_encoding_and_columns,
};
