//! Norms and biases on the device, which kernels read from buffers of their own and not from tiles.

use bevy::render::{render_resource::Buffer, renderer::RenderQueue};

use super::GpuModel;
use crate::forward::bind::{BoundLayer, BoundModel, LayerVector, OUTPUT_NORM};
use crate::model::ModelConfig;

/// The vectors of a layer that lie in one buffer, in their order there.
const IN_ONE_BUFFER: [LayerVector; 9] = [
    LayerVector::QueryBias,
    LayerVector::KeyBias,
    LayerVector::ValueBias,
    LayerVector::QueryNorm,
    LayerVector::KeyNorm,
    LayerVector::OutputBias,
    LayerVector::GateBias,
    LayerVector::UpBias,
    LayerVector::DownBias,
];

impl GpuModel {
    /// Writes numbers of a vector tensor, from element `first` on, for the next step. Gives whether
    /// the kernels read a vector of that name.
    pub(crate) fn set_vector(
        &self,
        queue: &RenderQueue,
        name: &str,
        first: u64,
        numbers: &[f32],
    ) -> bool {
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
        let width = self.config.embedding_size;
        if name == OUTPUT_NORM {
            return Some((self.norm_weights.last()?, width));
        }
        let (layer, vector) = LayerVector::named(name)?;
        match vector {
            // The first is applied by the embedding; the others lie behind the norm of the layer
            // before.
            LayerVector::AttentionNorm => {
                Some((self.norm_weights.get(layer)?, if layer == 0 { 0 } else { width }))
            }
            LayerVector::FeedForwardNorm => Some((self.norm_weights.get(layer + 1)?, 0)),
            _ => {
                let before = IN_ONE_BUFFER.iter().take_while(|other| **other != vector);
                let first = before.map(|vector| vector.size(&self.config)).sum();
                Some((self.vectors.get(layer)?, first))
            }
        }
    }
}

/// Weights of the two norms that follow the two sums of a layer.
pub(super) fn norm_weights(bound: &BoundModel, layer: usize) -> Vec<f32> {
    let next = bound
        .layers
        .get(layer + 1)
        .map_or(&*bound.output_norm, |next| next.vector(LayerVector::AttentionNorm));
    [bound.layers[layer].vector(LayerVector::FeedForwardNorm), next].concat()
}

/// What [`IN_ONE_BUFFER`] names. The place of each does not depend on what else there is: zeros
/// stand for the others.
pub(super) fn vectors(layer: &BoundLayer, config: &ModelConfig) -> Vec<f32> {
    let mut vectors = Vec::new();
    let mut end = 0;
    for vector in IN_ONE_BUFFER {
        vectors.extend_from_slice(layer.vector(vector));
        end += vector.size(config) as usize;
        vectors.resize(end, 0.0);
    }
    vectors
}
