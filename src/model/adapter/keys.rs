//! The metadata keys of an adapter's GGUF file, and the names of its tensors.

use super::{LowRank, TARGETS};

/// The family of the base.
pub const ARCHITECTURE: &str = "general.architecture";
/// What a file is: `adapter`, where it is one.
pub const TYPE: &str = "general.type";
/// The value of [`TYPE`] of an adapter.
pub const ADAPTER: &str = "adapter";
/// What kind of adapter a file is.
pub const ADAPTER_TYPE: &str = "adapter.type";
/// The value of [`ADAPTER_TYPE`] of a low-rank one.
pub const LORA: &str = "lora";
/// Divided by the rank it is the factor of the update.
pub const ALPHA: &str = "adapter.lora.alpha";
/// Where keys begin of an adapter that is switched on by a text.
pub const ALORA: &str = "adapter.alora.";
/// The root hash of the base, in hex: ours.
pub const BASE: &str = "pixel_llm.base.root";
/// How it was made: ours.
pub const RUN: &str = "pixel_llm.run";

/// What stands behind a matrix's name for A and for B.
pub const HALVES: [&str; 2] = [".lora_a", ".lora_b"];

/// Whether an adapter may change a matrix of this name.
pub fn is_target(tensor: &str) -> bool {
    let target = || {
        let (layer, name) = tensor.strip_prefix("blk.")?.split_once('.')?;
        // Not `parse`: "+1" and "01" are numbers, and no names of layers.
        let is_layer = !layer.is_empty()
            && layer.bytes().all(|digit| digit.is_ascii_digit())
            && (layer == "0" || !layer.starts_with('0'));
        (is_layer && TARGETS.contains(&name.strip_suffix(".weight")?)).then_some(())
    };
    target().is_some()
}

impl LowRank {
    /// A and B: the tensor's name, its rows and columns, and its numbers.
    pub(crate) fn halves(&self) -> [(String, [usize; 2], &[f32]); 2] {
        let name = |half: &str| format!("{}{half}", self.tensor);
        [
            (name(HALVES[0]), [self.rank, self.inputs], &self.a),
            (name(HALVES[1]), [self.outputs, self.rank], &self.b),
        ]
    }
}
