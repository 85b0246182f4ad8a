//! Settings: everything here is kept between runs, but for the prompt's.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::Ui;

use crate::panel::PromptBox;
use crate::panel::controls::{Explained, with_key};
use crate::panel::frame::drawer::show;
use crate::panel::style::faint;
use crate::world::keys::UserAction;
use crate::world::palette::{Colouring, Palettes, Theme};
use crate::world::settings::{AfterChange, Settings, USUAL_THINKING};
use crate::world::tabs::{Drawer, Tab};
use crate::world::text_scale::STEPS;

/// The fastest that the slider goes; beyond it there is no limit.
const FASTEST: f32 = 60.0;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    palettes: Res<Palettes>,
    mut settings: ResMut<Settings>,
    mut prompt: ResMut<PromptBox>,
    drawer: Res<Drawer>,
) -> Result {
    let context = contexts.ctx_mut()?;
    // What changes is written to the disk, so that nothing is changed by looking at it.
    let mut edited = settings.clone();
    let theme = edited.theme;
    show(context, theme, (&drawer, Tab::Settings), |ui| {
        egui::Grid::new("settings").spacing([14.0, 7.0]).show(ui, |ui| {
            looks(ui, &mut edited, &palettes);
            speed(ui, &mut edited);
            row(ui, theme, "after a change", |ui| {
                ui.horizontal(|ui| {
                    for (after, text, about) in [
                        (
                            AfterChange::AnswerAgain,
                            "answer again",
                            "when a head is muted or a weight painted, the prompt is answered \
                             again at once, beside the answer of before",
                        ),
                        (
                            AfterChange::Wait,
                            "wait",
                            "the answer stays, faded and marked as of before the change, until \
                             you press R",
                        ),
                    ] {
                        ui.selectable_value(&mut edited.after_change, after, text).explained(about);
                    }
                });
            });
            row(ui, theme, "answer", |ui| {
                let mut tokens = prompt.tokens;
                let slider = egui::Slider::new(&mut tokens, 1..=512).suffix(" tokens");
                if ui.add(slider).explained("the most tokens of an answer").changed() {
                    prompt.tokens = tokens;
                }
            });
            row(ui, theme, "temperature", |ui| {
                let mut temperature = prompt.temperature;
                let slider = egui::Slider::new(&mut temperature, 0.0..=2.0);
                let words = "0 takes the likeliest token; more lets others come, too";
                if ui.add(slider).explained(words).changed() {
                    prompt.temperature = temperature;
                }
            });
        });
    });
    if edited != *settings {
        *settings = edited;
    }
    Ok(())
}

/// A row of the grid: what is set, and what sets it.
fn row(ui: &mut Ui, theme: Theme, name: &str, contents: impl FnOnce(&mut Ui)) {
    ui.colored_label(faint(theme), name);
    contents(ui);
    ui.end_row();
}

/// Theme, palette, what a cell shows, and whether the camera flies.
fn looks(ui: &mut Ui, edited: &mut Settings, palettes: &Palettes) {
    let theme = edited.theme;
    row(ui, theme, "theme", |ui| {
        ui.horizontal(|ui| {
            for (theme, text) in [(Theme::Dark, "ink"), (Theme::Light, "paper")] {
                let words = with_key(ui.ctx(), "dark or light ground", UserAction::NextTheme);
                ui.selectable_value(&mut edited.theme, theme, text).explained(words);
            }
        });
    });
    row(ui, theme, "palette", |ui| {
        let chosen = palettes.named(&edited.palette).name.clone();
        let combo = egui::ComboBox::from_id_salt("palette").selected_text(&chosen);
        let shown = combo.show_ui(ui, |ui| {
            for palette in &palettes.0 {
                let label = ui.selectable_label(palette.name == chosen, &palette.name);
                if label.explained("colours of weights and of the land").clicked() {
                    edited.palette.clone_from(&palette.name);
                }
            }
        });
        let words = with_key(ui.ctx(), "the colours of weights", UserAction::NextPalette);
        shown.response.explained(words);
    });
    row(ui, theme, "a cell shows", |ui| {
        ui.horizontal_wrapped(|ui| {
            for (colouring, text, words) in [
                (Colouring::Weights, "weight", "what the model computes with"),
                (Colouring::Bytes, "bytes", "the bytes of the file, three to a pixel"),
                (Colouring::Error, "error", "how far the encoding may be from what was trained"),
                (Colouring::Update, "update", "what adapters add to the weight"),
                (Colouring::WithUpdate, "both", "the weight and what adapters add to it"),
            ] {
                let words = with_key(ui.ctx(), words, UserAction::NextColouring);
                ui.selectable_value(&mut edited.colouring, colouring, text).explained(words);
            }
        });
    });
    row(ui, theme, "text", |ui| {
        let name = |scale: f32| match scale {
            0.0 => "as the screen".to_owned(),
            scale => format!("{:.0} %", scale * 100.0),
        };
        let shown = egui::ComboBox::from_id_salt("text").selected_text(name(edited.text_scale));
        let shown = shown.show_ui(ui, |ui| {
            for scale in [0.0].into_iter().chain(STEPS) {
                let label = ui.selectable_value(&mut edited.text_scale, scale, name(scale));
                label.explained("how large text and panels are");
            }
        });
        let words = with_key(ui.ctx(), "how large text and panels are", UserAction::LargerText);
        shown.response.explained(words);
    });
    row(ui, theme, "flights", |ui| {
        let words = "the camera is there at once, and nothing hops or blinks";
        ui.checkbox(&mut edited.reduced_motion, "jump instead").explained(words);
    });
}

/// How fast tokens come, and how much of a frame they may take.
fn speed(ui: &mut Ui, edited: &mut Settings) {
    let theme = edited.theme;
    row(ui, theme, "speed", |ui| {
        // In the file 0 is no limit.
        let mut speed =
            if edited.tokens_per_second > 0.0 { edited.tokens_per_second } else { FASTEST };
        let words = |speed: f64, _: std::ops::RangeInclusive<usize>| {
            if speed >= f64::from(FASTEST) {
                "no limit".into()
            } else {
                format!("{speed:.1} tokens/s")
            }
        };
        let slider =
            egui::Slider::new(&mut speed, 0.5..=FASTEST).logarithmic(true).custom_formatter(words);
        if ui.add(slider).explained("how fast an answer comes at most").changed() {
            edited.tokens_per_second = if speed >= FASTEST { 0.0 } else { speed };
        }
    });
    row(ui, theme, "a frame thinks", |ui| {
        let mut budget = edited.thinking_budget().as_millis() as u32;
        let slider = egui::Slider::new(&mut budget, 1..=200).suffix(" ms");
        let words = "how much of a frame an answer may take: more is faster, and jerkier";
        if ui.add(slider).explained(words).changed() {
            // 0 is the usual, which makes room for drawing; what somebody has chosen does not.
            edited.thinking_milliseconds = if budget == USUAL_THINKING { 0 } else { budget };
        }
    });
}
