//! From the marks on a model's entities to the factors on the device.
//!
//! In: [`Muted`] and [`Scale`] on entities of heads and layers. Out: [`Interventions`] of the main
//! world, for who shows them, and [`GpuModel::set_interventions`] before the frame's forward steps
//! are recorded.

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
use crate::forward::Interventions;
use crate::tiles::{Head, Layer, ModelIndex, Muted, Scale, factor};

/// Lets `Muted` and `Scale` on entities act on the device.
///
/// Adds [`Interventions`] and, in `PostUpdate`, the system that writes them when a mark comes,
/// changes or goes. In the render world it keeps a copy of them and writes them to the [`GpuModel`]
/// in `RenderSystems::PrepareResources`, which is before the forward pass. Without a render world
/// only the first is done. Comes after `ForwardPlugin`.
pub struct InterventionsPlugin;

/// Where [`InterventionsPlugin`] works in the main world.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub enum InterventionsSystems {
    /// In `PostUpdate`: marks become [`Interventions`]. Who marks in `PostUpdate` comes before it.
    Gather,
}

impl Plugin for InterventionsPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Interventions>()
            .add_systems(PostUpdate, gather.in_set(InterventionsSystems::Gather));
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app.init_resource::<Interventions>().add_systems(
            Render,
            apply.in_set(RenderSystems::PrepareResources).run_if(resource_exists::<GpuModel>),
        );
        app.add_plugins(ExtractResourcePlugin::<Interventions>::default());
    }
}

impl ExtractResource for Interventions {
    type Source = Self;

    fn extract_resource(source: &Self) -> Self {
        source.clone()
    }
}

type Marks = (Option<&'static Muted>, Option<&'static Scale>);
type IsMarked = Or<(With<Muted>, With<Scale>)>;

/// Writes [`Interventions`] anew when a mark came, changed or went, or another model came.
fn gather(
    index: Option<Res<ModelIndex>>,
    heads: Query<(&Head, Marks), IsMarked>,
    layers: Query<(&Layer, Marks), IsMarked>,
    changed: Query<(), Or<(Changed<Muted>, Changed<Scale>)>>,
    scales: Query<(Option<&Name>, &Scale), Changed<Scale>>,
    mut unmuted: RemovedComponents<Muted>,
    mut unscaled: RemovedComponents<Scale>,
    mut interventions: ResMut<Interventions>,
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
        interventions.set_if_neq(Interventions::default());
        return;
    };
    let sizes = [index.layer_count(), index.heads_per_layer()];
    let heads =
        heads.iter().map(|(head, (muted, scale))| ([head.layer, head.index], factor(muted, scale)));
    let layers = layers.iter().map(|(layer, (muted, scale))| (layer.index, factor(muted, scale)));
    interventions.set_if_neq(Interventions::new(sizes, heads, layers));
}

/// Writes the factors to the device where they, or whether they count, or the device changed.
fn apply(
    interventions: Res<Interventions>,
    overlaid: Option<Res<EditedWeights>>,
    network: Res<GpuModel>,
    queue: Res<RenderQueue>,
) {
    let is_bypass_changed = overlaid.as_ref().is_some_and(DetectChanges::is_changed);
    if !(network.is_changed() || interventions.is_changed() || is_bypass_changed) {
        return;
    }
    if overlaid.is_some_and(|overlaid| overlaid.bypassed) {
        network.set_interventions(&queue, &Interventions::default());
    } else {
        network.set_interventions(&queue, &interventions);
    }
}
