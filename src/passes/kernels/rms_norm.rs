//! Root-mean-square normalisation of the rows of a matrix: one workgroup per row.
//!
//! Bindings: the parameters, `x [rows, width]`, `weight [width]`, `y [rows, width]`, all F32.

use std::num::NonZeroU64;

use bevy::{
    render::render_resource::{
        BindGroupLayoutDescriptor, BindGroupLayoutEntries, ShaderStages,
        binding_types::{storage_buffer_read_only_sized, storage_buffer_sized, uniform_buffer_sized},
    },
    shader::ShaderDefVal,
};

use super::KernelSource;
use crate::passes::params::RmsNormParams;

/// Lanes per row. A power of two, as the reduction needs.
const WORKGROUP_SIZE: u32 = 64;

/// The kernel as it is written down.
pub const SOURCE: KernelSource =
    KernelSource { name: "rms_norm", layout: |_| layout(), variants: || vec![shader_defs()] };

/// The workgroups that normalise all rows.
pub fn workgroups(params: &RmsNormParams) -> [u32; 3] {
    [params.rows, 1, 1]
}

pub(super) fn shader_defs() -> Vec<ShaderDefVal> {
    vec![ShaderDefVal::UInt("WORKGROUP_SIZE".into(), WORKGROUP_SIZE)]
}

fn layout() -> BindGroupLayoutDescriptor {
    BindGroupLayoutDescriptor::new(
        "rms_norm",
        &BindGroupLayoutEntries::sequential(
            ShaderStages::COMPUTE,
            (
                uniform_buffer_sized(false, NonZeroU64::new(size_of::<RmsNormParams>() as u64)),
                storage_buffer_read_only_sized(false, None),
                storage_buffer_read_only_sized(false, None),
                storage_buffer_sized(false, None),
            ),
        ),
    )
}

const _: () = assert!(WORKGROUP_SIZE.is_power_of_two());
