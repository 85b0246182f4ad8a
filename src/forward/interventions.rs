//! Interventions: heads and layers that are muted, weakened or strengthened. The factors are the
//! same for the processor and for an adapter; in a world, marks on entities come to them.

/// Factors by which heads and layers count: 0 mutes, 1 changes nothing. A list is empty where all
/// of its factors are 1.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "world", derive(bevy::prelude::Resource))]
pub struct Interventions {
    /// A factor per query head on what it gives, layer by layer: `heads[layer * head_count +
    /// head]`.
    pub heads: Vec<f32>,
    /// A factor per layer on everything that it adds to the residual stream; at 0 the layer is
    /// skipped.
    pub layers: Vec<f32>,
}

impl Interventions {
    /// The factors of a model of `layer_count` layers of `head_count` heads, some of which are not
    /// 1: those of heads by layer and head, and those of layers. What the model does not have
    /// counts nothing.
    pub fn new(
        [layer_count, head_count]: [u32; 2],
        heads: impl IntoIterator<Item = ([u32; 2], f32)>,
        layers: impl IntoIterator<Item = (u32, f32)>,
    ) -> Self {
        let (rows, row) = (layer_count as usize, head_count as usize);
        // Left out before places are computed: head 3 of three would be head 0 of the next layer.
        let heads = heads
            .into_iter()
            .filter(|([layer, head], _)| *layer < layer_count && *head < head_count)
            .map(|([layer, head], factor)| (layer as usize * row + head as usize, factor));
        let layers = layers
            .into_iter()
            .filter(|(layer, _)| *layer < layer_count)
            .map(|(layer, factor)| (layer as usize, factor));
        Self { heads: list(rows * row, heads), layers: list(rows, layers) }
    }

    /// The factors of the heads of a layer, or none where all are 1.
    pub(crate) fn heads_of(&self, layer: usize, head_count: u32) -> &[f32] {
        let heads = head_count as usize;
        self.heads.get(layer * heads..(layer + 1) * heads).unwrap_or_default()
    }

    /// The factor of a layer.
    pub(crate) fn layer(&self, layer: usize) -> f32 {
        self.layers.get(layer).copied().unwrap_or(1.0)
    }
}

fn list(len: usize, given: impl Iterator<Item = (usize, f32)>) -> Vec<f32> {
    let mut factors = vec![1.0; len];
    given.for_each(|(at, factor)| factors[at] = factor);
    // Equal effects are equal values: the device is written to only when the value changes.
    if factors.iter().all(|&factor| factor == 1.0) { Vec::new() } else { factors }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_at_its_layer_and_head_and_the_rest_is_one() {
        let found = Interventions::new([2, 3], [([1, 0], 0.0), ([0, 2], 2.5)], [(1, 0.5)]);
        assert_eq!(found.heads, [1.0, 1.0, 2.5, 0.0, 1.0, 1.0]);
        assert_eq!(found.layers, [1.0, 0.5]);
        assert_eq!((found.heads_of(1, 3), found.layer(1)), (&[0.0, 1.0, 1.0][..], 0.5));
        let none = Interventions::default();
        assert_eq!((none.heads_of(1, 3), none.layer(1)), (&[][..], 1.0));
    }

    #[test]
    fn nothing_given_is_no_list_and_what_is_outside_counts_nothing() {
        assert_eq!(Interventions::new([2, 3], [], []), Interventions::default());
        let outside = Interventions::new([2, 3], [([2, 0], 0.0), ([0, 3], 0.0)], [(2, 0.0)]);
        assert_eq!(outside, Interventions::default(), "head 3 of layer 0 is not head 0 of layer 1");
    }
}
