//! Settings: everything here is kept between runs, but for the prompt's.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};

use super::drawer::show;
use super::style::{accent, faint};
use super::{Panels, PromptBox};
use crate::world::keys::Keys;
use crate::world::palette::{Colouring, Palettes, Theme};
use crate::world::settings::{Settings, USUAL_THINKING};
use crate::world::tabs::{Instrument, Shown};

/// The fastest that the slider goes; beyond it there is no limit.
const FASTEST: f32 = 60.0;

pub(super) fn draw(
    mut contexts: EguiContexts,
    palettes: Res<Palettes>,
    keys: Res<Keys>,
    mut settings: ResMut<Settings>,
    mut prompt: ResMut<PromptBox>,
    mut panels: ResMut<Panels>,
    mut drawer: ResMut<Shown>,
) -> Result {
    if drawer.0 != Some(Instrument::Settings) {
        return Ok(());
    }
    let context = contexts.ctx_mut()?;
    // What changes is written to the disk, so that nothing is changed by looking at it.
    let mut edited = settings.clone();
    let theme = edited.theme;
    let open = panels.clone();
    show(context, &open, (&mut drawer, Instrument::Settings, "Settings"), |ui| {
        egui::Grid::new("settings").spacing([14.0, 7.0]).show(ui, |ui| {
            let name = |ui: &mut egui::Ui, text: &str| {
                ui.colored_label(faint(theme), text);
            };
            name(ui, "theme");
            ui.horizontal(|ui| {
                ui.selectable_value(&mut edited.theme, Theme::Dark, "ink");
                ui.selectable_value(&mut edited.theme, Theme::Light, "paper");
            });
            ui.end_row();
            name(ui, "palette");
            let chosen = palettes.named(&edited.palette).name.clone();
            egui::ComboBox::from_id_salt("palette").selected_text(&chosen).show_ui(ui, |ui| {
                for palette in &palettes.0 {
                    if ui.selectable_label(palette.name == chosen, &palette.name).clicked() {
                        edited.palette.clone_from(&palette.name);
                    }
                }
            });
            ui.end_row();
            name(ui, "a cell shows");
            ui.horizontal(|ui| {
                for (colouring, text) in [
                    (Colouring::Weights, "weight"),
                    (Colouring::Bytes, "bytes"),
                    (Colouring::Error, "error"),
                ] {
                    ui.selectable_value(&mut edited.colouring, colouring, text);
                }
            });
            ui.end_row();
            name(ui, "flights");
            ui.checkbox(&mut edited.reduced_motion, "jump instead");
            ui.end_row();
            name(ui, "speed");
            let mut speed =
                if edited.tokens_per_second > 0.0 { edited.tokens_per_second } else { FASTEST };
            let words = |speed: f64, _: std::ops::RangeInclusive<usize>| {
                if speed >= f64::from(FASTEST) {
                    "no limit".into()
                } else {
                    format!("{speed:.1} tokens/s")
                }
            };
            let slider = egui::Slider::new(&mut speed, 0.5..=FASTEST)
                .logarithmic(true)
                .custom_formatter(words);
            if ui.add(slider).changed() {
                edited.tokens_per_second = if speed >= FASTEST { 0.0 } else { speed };
            }
            ui.end_row();
            name(ui, "a frame thinks");
            let mut budget = edited.thinking_budget().as_millis() as u32;
            if ui.add(egui::Slider::new(&mut budget, 1..=200).suffix(" ms")).changed() {
                edited.thinking_milliseconds = if budget == USUAL_THINKING { 0 } else { budget };
            }
            ui.end_row();
            name(ui, "answer");
            let mut tokens = prompt.tokens;
            if ui.add(egui::Slider::new(&mut tokens, 1..=512).suffix(" tokens")).changed() {
                prompt.tokens = tokens;
            }
            ui.end_row();
            name(ui, "temperature");
            let mut temperature = prompt.temperature;
            if ui.add(egui::Slider::new(&mut temperature, 0.0..=2.0)).changed() {
                prompt.temperature = temperature;
            }
            ui.end_row();
        });
        ui.separator();
        ui.collapsing("Keys", |ui| {
            egui::ScrollArea::vertical().max_height(220.0).show(ui, |ui| {
                egui::Grid::new("settings keys").spacing([16.0, 3.0]).show(ui, |ui| {
                    for (action, names) in keys.list() {
                        ui.colored_label(accent(theme), names);
                        ui.label(action.name());
                        ui.end_row();
                    }
                });
            });
            if ui.button("show them over the map").clicked() {
                panels.help = true;
            }
        });
    });
    if edited != *settings {
        *settings = edited;
    }
    Ok(())
}
