//! The answer as it is read: its tokens, what else might have stood there, and what can be done
//! with it.

use bevy_egui::egui;
use egui::{Button, RichText, ScrollArea, vec2};

use crate::panel::charts::activity::Scrubbed;
use crate::panel::charts::beams::Chips;
use crate::panel::controls::{Explained, clicked};
use crate::panel::style::{accent, faint, ink, tint};
use crate::world::layout::Atlas;
use crate::world::palette::Theme;
use crate::world::think::Generation;

/// Tokens that can be scrolled back to: laying out more takes longer than a frame.
const MOST_SHOWN: usize = 400;
/// Points down that tokens take; the others are scrolled to.
const TALL: f32 = 96.0;
/// Alternatives that stand side by side.
const MOST_ALTERNATIVES: usize = 4;

/// The sequence as chips: the shade is the probability; a click looks back at the token.
pub(super) fn tokens(
    ui: &mut egui::Ui,
    theme: Theme,
    mind: &Generation,
    scrubbed: &mut Scrubbed,
    chips: &mut Chips,
) {
    chips.0.clear();
    let area = ScrollArea::vertical().max_height(TALL).stick_to_bottom(true);
    area.auto_shrink([false, true]).show(ui, |ui| {
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing = vec2(1.0, 2.0);
            let first = mind.thoughts.len().saturating_sub(MOST_SHOWN);
            for at in first..mind.thoughts.len() {
                chip(ui, theme, (mind, at), scrubbed, chips);
            }
        });
    });
}

fn chip(
    ui: &mut egui::Ui,
    theme: Theme,
    (mind, at): (&Generation, usize),
    scrubbed: &mut Scrubbed,
    chips: &mut Chips,
) {
    let thought = &mind.thoughts[at];
    // The font has no sign for a line's end.
    let text = RichText::new(thought.text.replace('\n', "\\n")).size(14.0).color(ink(theme));
    let text = match thought.probability {
        Some(probability) => text.background_color(tint(theme, probability)),
        None => text.color(faint(theme)),
    };
    let text = if scrubbed.0 == Some(at) { text.underline() } else { text };
    let label = ui.add(egui::Label::new(text).sense(egui::Sense::click()).selectable(false));
    // Beams go to what is seen.
    if ui.is_rect_visible(label.rect) {
        chips.0.push((at, label.rect));
    }
    let label = label.on_hover_ui(|ui| {
        let Some(probability) = thought.probability else {
            ui.label("of the prompt");
            return;
        };
        ui.label(format!("token {}: {:.1} %", thought.token, probability * 100.0));
        for other in &thought.alternatives {
            ui.monospace(format!("{:5.1} %  {:?}", other.probability * 100.0, other.text));
        }
        ui.label("A click looks at it: the others can be chosen then.");
    });
    if label.clicked() {
        scrubbed.0 = (scrubbed.0 != Some(at)).then_some(at);
    }
}

/// What else might have stood where the token stands that is looked at, or the latest; a click goes
/// on from there.
pub(super) fn alternatives(
    ui: &mut egui::Ui,
    theme: Theme,
    (atlas, mind): (&Atlas, &mut Generation),
    scrubbed: &mut Scrubbed,
) {
    let at = scrubbed.0.unwrap_or(mind.thoughts.len() - 1);
    let Some(thought) = mind.thoughts.get(at).filter(|thought| !thought.alternatives.is_empty())
    else {
        return;
    };
    let mut chosen = None;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        ui.label(RichText::new("instead").size(11.5).color(faint(theme)));
        let others = thought.alternatives.iter().filter(|other| other.token != thought.token);
        for other in others.take(MOST_ALTERNATIVES) {
            // What could have been said has no probability of 0.
            let share = match other.probability * 100.0 {
                ..0.5 => "< 1".to_owned(),
                percent => format!("{percent:.0}"),
            };
            let text = format!("{:?} {share} %", other.text);
            let button = Button::new(RichText::new(text).size(11.5)).small().truncate();
            let what = "go on from this token instead; the answer until now is kept";
            if ui.add(button).explained(what).clicked() {
                chosen = Some(other.token);
            }
        }
    });
    if let Some(token) = chosen {
        mind.fork(atlas.model(), at, token);
        scrubbed.0 = None;
    }
}

/// Below the tokens: the other answers, a copy of this one, and a new chat.
pub(super) fn below(
    ui: &mut egui::Ui,
    theme: Theme,
    (atlas, mind): (&Atlas, &mut Generation),
    is_chat: bool,
) {
    let (count, shown) = mind.branches();
    let mut wanted = None;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        let small = |text: &str| Button::new(RichText::new(text).size(11.5)).small();
        let has_answer = mind.thoughts.len() > mind.prompt_len;
        if clicked(ui, has_answer, small("Copy"), "the answer, to the clipboard") {
            ui.ctx().copy_text(mind.answer());
        }
        if is_chat && mind.turns() > 0 {
            let words = "what is said next is the first of another one";
            if clicked(ui, true, small("New chat"), words) {
                mind.end_conversation();
            }
            let turns = crate::words::counted(mind.turns() as u64, "turn").to_string();
            ui.label(RichText::new(turns).size(11.5).color(faint(theme)));
        }
        if count > 1 {
            ui.label(RichText::new("answers").size(11.5).color(faint(theme)));
            for index in 0..count {
                let text = RichText::new((index + 1).to_string()).size(11.5);
                let text = if index == shown { text.color(accent(theme)) } else { text };
                let words = format!("answer {} of {count}", index + 1);
                if ui.selectable_label(index == shown, text).explained(words).clicked() {
                    wanted = Some(index);
                }
            }
        }
    });
    if let Some(index) = wanted {
        mind.show_branch(atlas.model(), index);
    }
}
