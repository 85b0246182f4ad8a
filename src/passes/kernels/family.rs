//! How the kernels share their work among lanes: what suits one kind of adapter is slow on another.

use bevy::shader::ShaderDefVal;
use wgpu::{AdapterInfo, Features};

/// How the lanes of a workgroup share the work of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Family {
    /// Whether 256 lanes take a row each and share its inputs among them, with a sum through shared memory: for GPUs. Otherwise eight
    /// lanes take several rows each, without barriers: for software adapters, whose vectors have eight lanes.
    pub split: bool,
    /// Whether lanes exchange values by subgroup operations, or through shared memory.
    pub subgroups: bool,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self { split: false, subgroups: true },
        Self { split: true, subgroups: true },
        Self { split: true, subgroups: false },
        Self { split: false, subgroups: false },
    ];

    /// Whether the kernels' subgroup operations can be used on an adapter: eight lanes have to lie in one subgroup.
    pub fn can_use_subgroups(adapter: &AdapterInfo, features: Features) -> bool {
        adapter.subgroup_min_size >= 8 && features.contains(Features::SUBGROUP)
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match (self.split, self.subgroups) {
            (false, true) => "rows per lane",
            (false, false) => "rows per lane, no subgroups",
            (true, true) => "split inputs",
            (true, false) => "split inputs, no subgroups",
        }
    }

    /// What compiles a kernel for it.
    pub fn shader_defs(self) -> Vec<ShaderDefVal> {
        let workgroup = if self.split { 256 } else { 8 };
        let mut defs = vec![ShaderDefVal::UInt("WORKGROUP".into(), workgroup)];
        let flags = [("SPLIT", self.split), ("SUBGROUPS", self.subgroups)];
        defs.extend(
            flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| ShaderDefVal::Bool(name.into(), true)),
        );
        defs
    }
}
