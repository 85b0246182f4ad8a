//! Three held-out questions: what is right, what was said before the first step, what is said now.

use bevy_egui::egui;
use egui::{RichText, Ui};

use crate::panel::frame::drawer::WIDE;
use crate::panel::style::{accent, faint, ink, wrong};
use crate::world::learning::{PinnedAnswer, PinnedQuestion};
use crate::world::palette::Theme;

/// Points for what is told of an answer, and the gap after it.
const NAMES: f32 = 66.0;

pub(super) fn draw(ui: &mut Ui, theme: Theme, questions: &[PinnedQuestion]) {
    for (at, question) in questions.iter().enumerate() {
        ui.add_space(3.0);
        ui.label(RichText::new(&question.prompt).size(12.0).color(ink(theme)));
        egui::Grid::new((&question.prompt, at)).spacing([8.0, 1.0]).show(ui, |ui| {
            row(ui, theme, "right", (&question.expected, faint(theme)));
            answer(ui, theme, "before", question.before.as_ref());
            answer(ui, theme, "now", question.now.as_ref());
        });
    }
}

fn answer(ui: &mut Ui, theme: Theme, name: &str, answer: Option<&PinnedAnswer>) {
    let Some(PinnedAnswer { step, text, is_right }) = answer else {
        return row(ui, theme, name, ("\u{2026}", faint(theme)));
    };
    let name = if *step == 0 { name.to_owned() } else { format!("step {step}") };
    let colour = if *is_right { accent(theme) } else { wrong(theme) };
    let text = if text.is_empty() { "(nothing)" } else { text };
    let verdict = if *is_right { " \u{2713}" } else { "" };
    row(ui, theme, &name, (&format!("{text}{verdict}"), colour));
}

fn row(ui: &mut Ui, theme: Theme, name: &str, (text, colour): (&str, egui::Color32)) {
    ui.colored_label(faint(theme), RichText::new(name).size(11.0));
    ui.vertical(|ui| {
        // Of its own accord a column of text that may wrap becomes as narrow as a word.
        ui.set_width(WIDE - NAMES);
        ui.add(egui::Label::new(RichText::new(text).size(12.0).color(colour)).wrap());
    });
    ui.end_row();
}
