//! How the kernels share their work among lanes: what suits one kind of adapter is slow on another.

use bevy::shader::ShaderDefVal;
use wgpu::{Adapter, AdapterInfo, Features, TextureFormat, TextureFormatFeatureFlags};

/// How the lanes of a workgroup share the work of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KernelFamily {
    /// Whether 256 lanes take a row each and share its inputs among them, with a sum through shared
    /// memory: for GPUs. Otherwise eight lanes take several rows each, without barriers: for
    /// software adapters, whose vectors have eight lanes.
    pub split: bool,
    /// Whether lanes exchange values by subgroup operations, or through shared memory.
    pub subgroups: bool,
    /// Whether activations, keys and values are in textures, which a software adapter reads for all
    /// lanes at once, or in buffers.
    pub textures: bool,
}

/// What says that they are.
const TEXTURES: &str = "TEXTURES";

/// Whether a kernel that is compiled so has its activations in textures.
pub(super) fn has_textures(defs: &[ShaderDefVal]) -> bool {
    defs.contains(&ShaderDefVal::Bool(TEXTURES.into(), true))
}

/// What says that adapters act.
const ADAPTERS: &str = "ADAPTERS";

/// What compiles a kernel of a layer on which adapters act.
pub fn adapters_def() -> ShaderDefVal {
    ShaderDefVal::Bool(ADAPTERS.into(), true)
}

/// Whether a kernel that is compiled so is bound to adapters.
pub fn has_adapters(defs: &[ShaderDefVal]) -> bool {
    defs.contains(&adapters_def())
}

impl KernelFamily {
    /// The combinations that the shaders are written for.
    pub const ALL: [Self; 6] = [
        Self { split: false, subgroups: true, textures: true },
        Self { split: false, subgroups: true, textures: false },
        Self { split: true, subgroups: true, textures: false },
        Self { split: true, subgroups: false, textures: false },
        Self { split: false, subgroups: false, textures: false },
        Self { split: true, subgroups: false, textures: true },
    ];

    /// Whether the kernels' subgroup operations can be used on an adapter: eight lanes have to lie
    /// in one subgroup.
    pub(crate) fn can_use_subgroups(adapter: &AdapterInfo, features: Features) -> bool {
        adapter.subgroup_min_size >= 8 && features.contains(Features::SUBGROUP)
    }

    /// Whether activations can be in textures on an adapter.
    pub(crate) fn can_use_textures(adapter: &Adapter) -> bool {
        // WebGPU itself lets a kernel read and write a texture only in formats of one channel.
        let format = adapter.get_texture_format_features(TextureFormat::Rgba32Float);
        adapter.features().contains(Features::TEXTURE_ADAPTER_SPECIFIC_FORMAT_FEATURES)
            && format.flags.contains(TextureFormatFeatureFlags::STORAGE_READ_WRITE)
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
        let flags =
            [("SPLIT", self.split), ("SUBGROUPS", self.subgroups), (TEXTURES, self.textures)];
        defs.extend(
            flags
                .into_iter()
                .filter(|(_, set)| *set)
                .map(|(name, _)| ShaderDefVal::Bool(name.into(), true)),
        );
        defs
    }
}
