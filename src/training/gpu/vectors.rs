//! Norms and biases of all layers in one buffer.

use crate::forward::bind::{BoundLayer, BoundModel, LayerVector};

/// Vectors of a layer, in the order in which they lie.
const ORDER: [LayerVector; 11] = [
    LayerVector::AttentionNorm,
    LayerVector::QueryBias,
    LayerVector::KeyBias,
    LayerVector::ValueBias,
    // `rotate` finds the key's norm behind the query's.
    LayerVector::QueryNorm,
    LayerVector::KeyNorm,
    LayerVector::OutputBias,
    LayerVector::FeedForwardNorm,
    LayerVector::GateBias,
    LayerVector::UpBias,
    LayerVector::DownBias,
];

/// The numbers, and where those of each layer begin.
#[derive(Debug)]
pub struct PackedVectors {
    /// All numbers.
    pub numbers: Vec<f32>,
    /// The first quad of each of [`ORDER`] in each layer, none where it is not there.
    places: Vec<[Option<u32>; ORDER.len()]>,
    /// The first quad of the last norm.
    pub output_norm: u32,
}

impl PackedVectors {
    /// Those of a model.
    pub fn new(bound: &BoundModel) -> Self {
        let mut numbers = Vec::new();
        let of_layer = |layer: &BoundLayer, numbers: &mut Vec<f32>| {
            ORDER.map(|vector| {
                let found = layer.vector(vector);
                let place = (!found.is_empty()).then_some((numbers.len() / 4) as u32);
                numbers.extend_from_slice(found);
                place
            })
        };
        let places = bound.layers.iter().map(|layer| of_layer(layer, &mut numbers)).collect();
        let output_norm = (numbers.len() / 4) as u32;
        numbers.extend_from_slice(&bound.output_norm);
        Self { numbers, places, output_norm }
    }

    /// The first quad of a layer's vector, or none.
    pub fn place(&self, layer: usize, vector: LayerVector) -> Option<u32> {
        let index = ORDER.iter().position(|other| *other == vector)?;
        self.places[layer][index]
    }
}
