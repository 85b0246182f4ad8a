//! Interventions: heads and layers that are muted, weakened or strengthened, and the factors that
//! this comes to.

use bevy::prelude::*;

use super::{Head, Layer, ModelIndex};

/// On a [`Head`]: its output is zero. On a [`Layer`]: it is skipped, since nothing of it is added
/// to the residual stream. Stronger than [`Scale`].
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Muted;

/// On a [`Head`]: a factor on what it gives. On a [`Layer`]: a factor on everything that it adds to
/// the residual stream. Without it, 1.
#[derive(Component, Debug, Clone, Copy, PartialEq)]
pub struct Scale(pub f32);

/// The factors of all heads and layers of the model in the world: what [`Muted`] and [`Scale`] on
/// its entities come to.
///
/// Written by [`super::TilesPlugin`] when one of them comes, changes or goes. A list is empty where
/// all of its factors are 1.
#[derive(Resource, Debug, Clone, PartialEq, Default)]
pub struct Factors {
    /// A factor per query head, layer by layer.
    pub heads: Vec<f32>,
    /// A factor per layer.
    pub layers: Vec<f32>,
}

impl Factors {
    /// The factors of a model of `layer_count` layers of `head_count` heads, of which some are
    /// marked. Marks outside of the model count nothing.
    pub fn new(
        [layer_count, head_count]: [u32; 2],
        heads: impl IntoIterator<Item = (Head, f32)>,
        layers: impl IntoIterator<Item = (Layer, f32)>,
    ) -> Self {
        let (rows, row) = (layer_count as usize, head_count as usize);
        let heads = heads
            .into_iter()
            .filter(|(head, _)| head.layer < layer_count && head.index < head_count)
            .map(|(head, factor)| (head.layer as usize * row + head.index as usize, factor));
        let layers = layers
            .into_iter()
            .filter(|(layer, _)| layer.index < layer_count)
            .map(|(layer, factor)| (layer.index as usize, factor));
        Self { heads: list(rows * row, heads), layers: list(rows, layers) }
    }

    /// The factor that an entity's marks come to. One that is not a finite number would make every
    /// logit one that is not: it counts as 1.
    pub fn of(muted: Option<&Muted>, scale: Option<&Scale>) -> f32 {
        match (muted, scale) {
            (Some(Muted), _) => 0.0,
            (None, Some(&Scale(factor))) if factor.is_finite() => factor,
            (None, _) => 1.0,
        }
    }
}

fn list(len: usize, marked: impl Iterator<Item = (usize, f32)>) -> Vec<f32> {
    let mut factors = vec![1.0; len];
    marked.for_each(|(at, factor)| factors[at] = factor);
    if factors.iter().all(|&factor| factor == 1.0) { Vec::new() } else { factors }
}

type Marks = (Option<&'static Muted>, Option<&'static Scale>);
type Marked = Or<(With<Muted>, With<Scale>)>;

/// Writes [`Factors`] anew when a mark came, changed or went, or another model came.
pub(super) fn gather(
    index: Option<Res<ModelIndex>>,
    heads: Query<(&Head, Marks), Marked>,
    layers: Query<(&Layer, Marks), Marked>,
    changed: Query<(), Or<(Changed<Muted>, Changed<Scale>)>>,
    scales: Query<(Option<&Name>, &Scale), Changed<Scale>>,
    mut unmuted: RemovedComponents<Muted>,
    mut unscaled: RemovedComponents<Scale>,
    mut factors: ResMut<Factors>,
) {
    // Both are read to their end, or what is left would count again in the next frame.
    let removed = unmuted.read().count() + unscaled.read().count() > 0;
    let another = index.as_ref().is_some_and(|index| index.is_changed());
    if !removed && !another && changed.is_empty() {
        return;
    }
    for (name, Scale(factor)) in scales.iter().filter(|(_, scale)| !scale.0.is_finite()) {
        warn!("{}: {factor} is no factor; 1 is used", name.map_or("an entity", Name::as_str));
    }
    let Some(index) = index else {
        factors.set_if_neq(Factors::default());
        return;
    };
    let sizes = [index.layer_count(), index.heads_per_layer()];
    let heads = heads.iter().map(|(head, (muted, scale))| (*head, Factors::of(muted, scale)));
    let layers = layers.iter().map(|(layer, (muted, scale))| (*layer, Factors::of(muted, scale)));
    factors.set_if_neq(Factors::new(sizes, heads, layers));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(layer: u32, index: u32) -> Head {
        Head { layer, index, kv_head: 0 }
    }

    #[test]
    fn a_mark_is_at_its_layer_and_head_and_the_rest_is_one() {
        let factors = Factors::new(
            [2, 3],
            [(head(1, 0), 0.0), (head(0, 2), 2.5)],
            [(Layer { index: 1 }, 0.5)],
        );
        assert_eq!(factors.heads, [1.0, 1.0, 2.5, 0.0, 1.0, 1.0]);
        assert_eq!(factors.layers, [1.0, 0.5]);
    }

    #[test]
    fn nothing_marked_is_no_list_and_marks_outside_count_nothing() {
        assert_eq!(Factors::new([2, 3], [], []), Factors::default());
        let outside = Factors::new(
            [2, 3],
            [(head(2, 0), 0.0), (head(0, 3), 0.0)],
            [(Layer { index: 2 }, 0.0)],
        );
        assert_eq!(outside, Factors::default(), "head 3 of layer 0 is not head 0 of layer 1");
    }

    #[test]
    fn muted_is_stronger_than_a_factor_and_a_factor_is_finite() {
        assert_eq!(Factors::of(Some(&Muted), Some(&Scale(3.0))), 0.0);
        assert_eq!(Factors::of(None, Some(&Scale(-3.0))), -3.0);
        assert_eq!(Factors::of(None, None), 1.0);
        for wrong in [f32::NAN, f32::INFINITY] {
            assert_eq!(Factors::of(None, Some(&Scale(wrong))), 1.0);
        }
    }
}
