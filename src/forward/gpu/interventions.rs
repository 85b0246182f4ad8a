//! Carries the factors of muted, weakened and strengthened heads and layers to the model on the
//! device.
//!
//! In: [`Factors`] of the main world, when they change. Out: [`GpuModel::set_head_scale`] and
//! [`GpuModel::set_layer_scale`] before the frame's forward steps are recorded, only for what
//! differs.

use bevy::{
    prelude::*,
    render::{
        Render, RenderApp, RenderSystems,
        extract_resource::{ExtractResource, ExtractResourcePlugin},
        renderer::RenderQueue,
    },
};

use super::EditedWeights;
use super::model::GpuModel;
use crate::forward::cpu::Controls;
use crate::tiles::Factors;

/// Lets `Muted` and `Scale` on entities act on the device.
///
/// In the render world it keeps a copy of [`Factors`] and writes them to the [`GpuModel`] in
/// `RenderSystems::PrepareResources`, which is before the forward pass. Comes after `TilesPlugin`
/// and `ForwardPlugin`.
pub struct InterventionsPlugin;

impl Plugin for InterventionsPlugin {
    fn build(&self, app: &mut App) {
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app.init_resource::<Factors>().add_systems(
            Render,
            apply.in_set(RenderSystems::PrepareResources).run_if(resource_exists::<GpuModel>),
        );
        app.add_plugins(ExtractResourcePlugin::<Factors>::default());
    }
}

impl ExtractResource for Factors {
    type Source = Self;

    fn extract_resource(source: &Self) -> Self {
        source.clone()
    }
}

/// The same factors for the CPU twin.
impl From<&Factors> for Controls {
    fn from(factors: &Factors) -> Self {
        Self { head_scale: factors.heads.clone(), layer_scale: factors.layers.clone() }
    }
}

/// Writes the factors that differ from those that the device has.
fn apply(
    factors: Res<Factors>,
    overlaid: Option<Res<EditedWeights>>,
    network: Res<GpuModel>,
    queue: Res<RenderQueue>,
    mut on_device: Local<Factors>,
) {
    if network.is_changed() {
        // Another device, where every factor is 1.
        *on_device = Factors::default();
    } else if !factors.is_changed() && !overlaid.as_ref().is_some_and(DetectChanges::is_changed) {
        return;
    }
    let none = Factors::default();
    let factors =
        if overlaid.is_some_and(|overlaid| overlaid.bypassed) { &none } else { &*factors };
    let (layers, heads) = (network.config.layer_count, network.config.head_count);
    for (at, factor) in differences(&on_device.heads, &factors.heads, layers * heads) {
        network.set_head_scale(&queue, at / heads, at % heads, factor);
    }
    for (layer, factor) in differences(&on_device.layers, &factors.layers, layers) {
        network.set_layer_scale(&queue, layer, factor);
    }
    on_device.clone_from(factors);
}

/// The first `count` factors that changed, and what they are now; what a list lacks is 1.
fn differences(before: &[f32], after: &[f32], count: u32) -> impl Iterator<Item = (u32, f32)> {
    let at = |list: &[f32], index: u32| list.get(index as usize).copied().unwrap_or(1.0);
    let changed = move |index| {
        let (before, after) = (at(before, index), at(after, index));
        (before != after).then_some((index, after))
    };
    (0..count).filter_map(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written_and_an_empty_list_is_all_ones() {
        let changes =
            |before: &[f32], after: &[f32]| differences(before, after, 3).collect::<Vec<_>>();
        assert_eq!(changes(&[], &[1.0, 0.0, 1.0]), [(1, 0.0)]);
        assert_eq!(changes(&[1.0, 0.0, 2.0], &[]), [(1, 1.0), (2, 1.0)]);
        assert_eq!(changes(&[1.0, 0.0, 2.0], &[1.0, 0.0, 2.0]), []);
        assert_eq!(changes(&[], &[1.0, 1.0, 1.0, 5.0]), [], "past the model's end");
    }
}
