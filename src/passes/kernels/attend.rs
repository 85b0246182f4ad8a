//! Every query head over the keys and values of its sequence.

use bevy::shader::ShaderDefVal;

use super::{
    KernelSource,
    layout::{Bound::*, layout},
};
use crate::passes::params::AttendParams;

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "attend",
    layout: || layout("attend", &[Params(size_of::<AttendParams>()), Read, Read, Read, Read, Read, Write]),
    variants: || [8, 32, 64, 128].map(shader_defs).to_vec(),
};

/// What compiles the kernel for heads of this size, a multiple of 4.
pub fn shader_defs(head_size: u32) -> Vec<ShaderDefVal> {
    vec![ShaderDefVal::UInt("HEAD_SIZE".into(), head_size)]
}
