//! Norms and biases on the device, which kernels read from buffers of their own and not from tiles.

use bevy::render::{render_resource::Buffer, renderer::RenderQueue};

use super::Network;

impl Network {
    /// Writes numbers of a vector tensor, from element `first` on, for the next step. Gives whether the kernels read a vector of that name.
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
            return Some((self.gains.last()?, width));
        }
        let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
        let layer: usize = layer.parse().ok()?;
        let vectors = self.vectors.get(layer);
        let norms = query + 2 * kv;
        match part {
            // The first is applied by the embedding; the others lie behind the norm of the layer before.
            "attn_norm.weight" => Some((self.gains.get(layer)?, if layer == 0 { 0 } else { width })),
            "ffn_norm.weight" => Some((self.gains.get(layer + 1)?, 0)),
            "attn_q.bias" => Some((vectors?, 0)),
            "attn_k.bias" => Some((vectors?, query)),
            "attn_v.bias" => Some((vectors?, query + kv)),
            "attn_q_norm.weight" => Some((vectors?, norms)),
            "attn_k_norm.weight" => Some((vectors?, norms + self.config.head_size)),
            _ => None,
        }
    }
}
