//! Each layer in numbers at the chosen token: the residual stream after it, what it added, its
//! strongest head, its feed-forward activity.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};

use super::activity::{Scrubbed, greatest, shown};
use crate::panel::frame::drawer::{
    bar_cell, fade_before_change, nothing_yet, place, show, written,
};
use crate::panel::style::faint;
use crate::world::camera::Navigate;
use crate::world::layout::{Atlas, Place};
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};
use crate::world::think::Generation;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    mut navigate: MessageWriter<Navigate>,
    mind: Res<Generation>,
    scrubbed: Res<Scrubbed>,
    settings: Res<Settings>,
    drawer: Res<Drawer>,
) -> Result {
    if drawer.0 != Some(Tab::Layers) {
        return Ok(());
    }
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    let heads = atlas.model().config().head_count as usize;
    let mut chosen = None;
    show(context, theme, (&drawer, Tab::Layers), |ui| {
        let (Some(at), Some(thought)) = (place(&mind, &scrubbed), shown(&mind, &scrubbed)) else {
            return nothing_yet(ui, theme);
        };
        fade_before_change(ui, theme, &mind);
        ui.colored_label(faint(theme), format!("Norms at token {at} {}", written(&thought.text)));
        let [residual, added, hidden] =
            [&thought.residual_norms, &thought.added_norms, &thought.hidden_norms]
                .map(|norms| greatest(norms));
        let strongest_of_all = greatest(&thought.head_norms);
        egui::Grid::new("layers").spacing([5.0, 1.0]).min_col_width(20.0).show(ui, |ui| {
            for name in ["", "stream", "added", "best head", "fields"] {
                ui.colored_label(faint(theme), name);
            }
            ui.end_row();
            for (layer, of_layer) in thought.head_norms.chunks(heads).enumerate() {
                ui.colored_label(faint(theme), layer.to_string());
                let strongest = (0..of_layer.len())
                    .max_by(|&a, &b| of_layer[a].total_cmp(&of_layer[b]))
                    .unwrap_or(0);
                let (layer_place, head) =
                    (Place::Layer(layer as u32), Place::Head(layer as u32, strongest as u32));
                let fields = Place::FeedForward(layer as u32);
                let best = of_layer[strongest];
                let cells = [
                    (thought.residual_norms[layer], residual, 64.0, String::new(), &layer_place),
                    (thought.added_norms[layer], added, 64.0, String::new(), &layer_place),
                    (best, strongest_of_all, 80.0, format!("h{strongest} "), &head),
                    (thought.hidden_norms[layer], hidden, 64.0, String::new(), &fields),
                ];
                for (norm, most, wide, before, place) in cells {
                    let text = format!("{before}{}", short(norm));
                    let about = format!("go to {}", atlas.name(place));
                    if bar_cell(ui, theme, wide, norm / most, (&text, &about)).clicked() {
                        chosen = Some(place.clone());
                    }
                }
                ui.end_row();
            }
        });
        ui.colored_label(faint(theme), "Click a number to go there.");
    });
    if let Some(place) = chosen {
        navigate.write(Navigate::To(place));
    }
    Ok(())
}

/// A number in a few characters.
fn short(number: f32) -> String {
    match number.abs() {
        0.0..10.0 => format!("{number:.2}"),
        10.0..1000.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}
