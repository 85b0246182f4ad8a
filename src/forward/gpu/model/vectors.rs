//! Norms and biases on the device, which kernels read from buffers of their own and not from tiles.

use bevy::render::{render_resource::Buffer, renderer::RenderQueue};

use super::tensors::Tensors;
use super::{GpuModel, GpuModelError};
use crate::model::ModelConfig;

impl GpuModel {
    /// Writes numbers of a vector tensor, from element `first` on, for the next step. Gives whether
    /// the kernels read a vector of that name.
    pub fn set_vector(&self, queue: &RenderQueue, name: &str, first: u64, numbers: &[f32]) -> bool {
        let Some((buffer, start)) = self.place_of_vector(name) else { return false };
        let at = (u64::from(start) + first) * 4;
        let fits = at + size_of_val(numbers) as u64 <= buffer.size();
        if fits {
            queue.write_buffer(buffer, at, bytemuck::cast_slice(numbers));
        }
        fits
    }

    /// The buffer that holds a vector, and the number that it begins at.
    fn place_of_vector(&self, name: &str) -> Option<(&Buffer, u32)> {
        let (width, query, kv) =
            (self.config.embedding_size, self.config.query_size(), self.config.kv_size());
        if name == "output_norm.weight" {
            return Some((self.norm_weights.last()?, width));
        }
        let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
        let layer: usize = layer.parse().ok()?;
        let vectors = self.vectors.get(layer);
        let hidden = self.config.hidden_size;
        let norms = query + 2 * kv;
        // What the shaders call `output_biases`.
        let biases = norms + 2 * self.config.head_size;
        match part {
            // The first is applied by the embedding; the others lie behind the norm of the layer
            // before.
            "attn_norm.weight" => {
                Some((self.norm_weights.get(layer)?, if layer == 0 { 0 } else { width }))
            }
            "ffn_norm.weight" => Some((self.norm_weights.get(layer + 1)?, 0)),
            "attn_q.bias" => Some((vectors?, 0)),
            "attn_k.bias" => Some((vectors?, query)),
            "attn_v.bias" => Some((vectors?, query + kv)),
            "attn_q_norm.weight" => Some((vectors?, norms)),
            "attn_k_norm.weight" => Some((vectors?, norms + self.config.head_size)),
            "attn_output.bias" => Some((vectors?, biases)),
            "ffn_gate.bias" => Some((vectors?, biases + width)),
            "ffn_up.bias" => Some((vectors?, biases + width + hidden)),
            "ffn_down.bias" => Some((vectors?, biases + width + 2 * hidden)),
            _ => None,
        }
    }
}

/// Weights of the two norms that follow the two sums of a layer.
pub(super) fn norm_weights(
    index: u32,
    tensors: &Tensors<'_>,
    config: &ModelConfig,
) -> Result<Vec<f32>, GpuModelError> {
    let mut norm_weights = tensors.vector(&format!("blk.{index}.ffn_norm.weight"))?;
    norm_weights.extend(if index + 1 < config.layer_count {
        tensors.vector(&format!("blk.{}.attn_norm.weight", index + 1))?
    } else {
        tensors.vector("output_norm.weight")?
    });
    Ok(norm_weights)
}

/// Biases of query, key and value, the norms of a head's query and key, then the biases of the
/// attention's output, of gate, up and down. The place of each does not depend on what else there
/// is: zeros stand for the others.
pub(super) fn vectors(
    index: u32,
    tensors: &Tensors<'_>,
    config: &ModelConfig,
) -> Result<Vec<f32>, GpuModelError> {
    let mut vectors = Vec::new();
    let mut end = 0;
    for (name, size) in [
        ("attn_q.bias", config.query_size()),
        ("attn_k.bias", config.kv_size()),
        ("attn_v.bias", config.kv_size()),
        ("attn_q_norm.weight", config.head_size),
        ("attn_k_norm.weight", config.head_size),
        ("attn_output.bias", config.embedding_size),
        ("ffn_gate.bias", config.hidden_size),
        ("ffn_up.bias", config.hidden_size),
        ("ffn_down.bias", config.embedding_size),
    ] {
        let name = format!("blk.{index}.{name}");
        // With the flag for norms, a layer without one is an error that names it.
        let needed = config.qk_norms && name.ends_with("_norm.weight");
        if needed || tensors.0.tensor(&name).is_some() {
            vectors.extend(tensors.vector(&name)?);
        }
        end += size as usize;
        vectors.resize(end, 0.0);
    }
    Ok(vectors)
}
