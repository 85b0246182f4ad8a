//! The logit lens: what each layer would say at the chosen token, from the embedding to the last,
//! which is what the model says.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{RichText, ScrollArea, vec2};

use super::activity::Scrubbed;
use crate::panel::controls::Explained;
use crate::panel::frame::drawer::{fade_before_change, nothing_yet, place, show, written};
use crate::panel::style::{accent, faint, ink, tint};
use crate::world::camera::Navigate;
use crate::world::layout::{Atlas, Place};
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};
use crate::world::think::Generation;
use crate::world::think::lens::Lens;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    mut navigate: MessageWriter<Navigate>,
    mind: Res<Generation>,
    scrubbed: Res<Scrubbed>,
    settings: Res<Settings>,
    drawer: Res<Drawer>,
    mut lens: ResMut<Lens>,
) -> Result {
    if drawer.0 != Some(Tab::Lens) {
        return Ok(());
    }
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    let mut chosen = None;
    show(context, theme, (&drawer, Tab::Lens), |ui| {
        let Some(at) = place(&mind, &scrubbed) else { return nothing_yet(ui, theme) };
        fade_before_change(ui, theme, &mind);
        if mind.thoughts[at].trace.is_none() {
            ui.label("This token's values were not kept: the sequence is too long for them.");
            return;
        }
        let model = std::sync::Arc::clone(atlas.model());
        let view = lens.look(&model, &mind, at).cloned();
        if let Some(problem) = &lens.problem {
            ui.label(problem);
        }
        let Some(view) = view else {
            ui.colored_label(faint(theme), "multiplying ...");
            return;
        };
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            ui.colored_label(faint(theme), format!("after token {}", view.at));
            let text = mind.thoughts.get(view.at).map_or("", |thought| thought.text.as_str());
            ui.label(RichText::new(written(text)).color(accent(theme)));
            ui.colored_label(faint(theme), "each layer would say");
        });
        ui.spacing_mut().interact_size.y = 15.0;
        let next = mind.thoughts.get(view.at + 1).map(|thought| thought.token);
        // The last is what the model says: it stays in sight while the others scroll.
        let Some((last, before)) = view.layers.split_last() else { return };
        // The line of it, and what it means, below.
        let tall = (ui.clip_rect().bottom() - ui.cursor().top() - 72.0).max(80.0);
        ScrollArea::vertical().max_height(tall).auto_shrink([false, true]).show(ui, |ui| {
            egui::Grid::new("lens").spacing([6.0, 1.0]).min_col_width(34.0).show(ui, |ui| {
                for (state, tokens) in before.iter().enumerate() {
                    // State 0 is the embedding's, before the first layer.
                    let name =
                        state.checked_sub(1).map_or("input".into(), |layer| layer.to_string());
                    if row(ui, theme, &mind, &name, tokens, next) {
                        chosen = Some(
                            state
                                .checked_sub(1)
                                .map_or(Place::Embedding, |at| Place::Layer(at as u32)),
                        );
                    }
                }
            });
        });
        ui.separator();
        egui::Grid::new("lens last").spacing([6.0, 1.0]).min_col_width(34.0).show(ui, |ui| {
            if row(ui, theme, &mind, "output", last, next) {
                chosen = Some(Place::Output);
            }
        });
        ui.colored_label(faint(theme), "Stronger is likelier; framed is what came next.");
    });
    if let Some(place) = chosen {
        navigate.write(Navigate::To(place));
    }
    Ok(())
}

/// What one layer would say; true if its name was clicked.
fn row(
    ui: &mut egui::Ui,
    theme: Theme,
    mind: &Generation,
    name: &str,
    tokens: &[(u32, f32)],
    next: Option<u32>,
) -> bool {
    let label = egui::Label::new(RichText::new(name).color(faint(theme)).size(11.5));
    let label = ui.add(label.sense(egui::Sense::click()).selectable(false));
    let clicked = label.explained(format!("go to this layer's place on the map: {name}")).clicked();
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 3.0;
        for (rank, &(token, probability)) in tokens.iter().enumerate() {
            let text = written(&mind.text_of(token));
            let wide = if rank == 0 { 104.0 } else { 54.0 };
            let (place, response) = ui.allocate_exact_size(vec2(wide, 15.0), egui::Sense::hover());
            let painter = ui.painter().with_clip_rect(place);
            painter.rect_filled(place, 3.0, tint(theme, probability));
            let font = egui::FontId::proportional(if rank == 0 { 12.0 } else { 11.0 });
            let left = place.left_center() + vec2(4.0, 0.0);
            painter.text(left, egui::Align2::LEFT_CENTER, &text, font, ink(theme));
            if rank == 0 {
                let percent = format!("{:.0} %", probability * 100.0);
                let right = place.right_center() - vec2(4.0, 0.0);
                let font = egui::FontId::proportional(11.0);
                let galley = painter.layout_no_wrap(percent, font, ink(theme));
                let percent_place = egui::Align2::RIGHT_CENTER.anchor_size(right, galley.size());
                painter.galley(percent_place.min, galley, ink(theme));
            }
            if next == Some(token) {
                let stroke = egui::Stroke::new(1.5, accent(theme));
                ui.painter().rect_stroke(place, 3.0, stroke, egui::StrokeKind::Inside);
            }
            response.on_hover_text(format!("{text} {:.2} %", probability * 100.0));
        }
    });
    ui.end_row();
    clicked
}
