//! The same prompt answered before a change of the model and after it: in one sentence with its
//! numbers, and token by token, with what differs marked. The answer before is that of the file
//! where somebody asks for both, and else the one that was there when the model was changed.

use bevy_egui::egui;
use egui::{RichText, Ui};

use crate::panel::controls::clicked;
use crate::panel::frame::drawer::written;
use crate::panel::style::{accent, faint, ink, tint, wrong};
use crate::panel::{PromptBox, WhatChanged};
use crate::world::lab::{Comparison, ComparisonSide, ComparisonStage};
use crate::world::layout::{Atlas, Place};
use crate::world::palette::Theme;
use crate::world::think::{Asked, Generation};

/// Points that the list of tokens may take before it scrolls.
const MOST_HEIGHT: f32 = 210.0;

/// In the experiment panel: the button that begins it, and what is then asked.
pub(crate) fn ask(
    ui: &mut Ui,
    comparison: &Comparison,
    prompt: &PromptBox,
    changed: bool,
    theme: Theme,
) -> Option<Asked> {
    let mut begun = None;
    ui.label(RichText::new(format!("{:?}", prompt.text)).size(12.5));
    ui.horizontal(|ui| {
        let button = egui::Button::new("Answer both ways");
        let words = "answer this prompt as the file says and as the model is now";
        if clicked(ui, !comparison.is_running(), button, words) {
            let PromptBox { text, chat, tokens, temperature } = prompt.clone();
            let asked = Asked { prompt: text, chat, tokens, temperature, ..Asked::default() };
            begun = Some(asked);
        }
        if !changed {
            ui.colored_label(faint(theme), "nothing is changed yet");
        }
    });
    begun
}

/// What is beside both answers: the answer that the world shows, and where its land leads.
pub(crate) type Beside<'a> = (&'a Generation, &'a Atlas, Option<usize>);

/// What somebody clicked beside both answers.
#[derive(Debug, Default)]
pub(crate) struct Clicked {
    /// A place to fly to.
    pub to: Option<Place>,
    /// Whether both answers are to be forgotten.
    pub forget: bool,
}

/// Both answers, what differs on the land, and the button that lets them go.
pub(crate) fn answers(
    ui: &mut Ui,
    comparison: &Comparison,
    (mind, atlas, looked_at): Beside<'_>,
    changed: &mut WhatChanged,
    theme: Theme,
) -> Clicked {
    let mut to = None;
    if said(ui, comparison, theme) {
        let story = comparison.story(atlas.model());
        ui.label(RichText::new(sentence(&story)).size(13.0).strong());
        to = on_the_land(ui, (comparison, mind, atlas), (looked_at, theme), changed);
        both(ui, comparison, theme);
    }
    let words = "forget both answers; what was changed stays changed";
    let forget = clicked(ui, !comparison.is_running(), egui::Button::new("Forget").small(), words);
    Clicked { to, forget }
}

/// The prompt, how far it is and what went wrong; whether both answers are there.
fn said(ui: &mut Ui, comparison: &Comparison, theme: Theme) -> bool {
    if let Some(asked) = &comparison.asked {
        ui.label(RichText::new(format!("{:?}", asked.prompt)).size(12.5));
    }
    let said = match comparison.stage {
        ComparisonStage::Idle | ComparisonStage::Done => "",
        ComparisonStage::Waiting => "waiting for the answer that is under way",
        ComparisonStage::Without => "1 of 2: answering as the file says",
        ComparisonStage::With if comparison.follows_change => "answering again, as changed",
        ComparisonStage::With => "2 of 2: answering as changed",
    };
    if !said.is_empty() {
        ui.colored_label(accent(theme), said);
    } else if let Some(problem) = &comparison.problem {
        ui.colored_label(wrong(theme), problem);
    }
    said.is_empty() && comparison.problem.is_none()
}

/// What differs most on the land, and whether the land shows it; gives the place that was clicked.
fn on_the_land(
    ui: &mut Ui,
    (comparison, mind, atlas): (&Comparison, &Generation, &Atlas),
    (looked_at, theme): (Option<usize>, Theme),
    changed: &mut WhatChanged,
) -> Option<Place> {
    let at = comparison.place(looked_at)?;
    let mut chosen = None;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        let text = comparison.differences.texts.get(at).map_or("", String::as_str);
        let small = |text: String| RichText::new(text).size(12.0);
        match comparison.most_changed(at, atlas).as_deref() {
            None => _ = ui.label(small("What heads gave was not kept so far on.".into())),
            Some([]) => {
                _ = ui.label(small("No head and no feed-forward gives anything else.".into()))
            }
            Some(places) => {
                ui.label(small(format!("Most changed at token {at} {}:", written(text))));
                for (at, (place, words)) in places.iter().enumerate() {
                    let comma = if at + 1 < places.len() { "," } else { "" };
                    let link = small(format!("{words}{comma}")).color(accent(theme));
                    let link = ui.link(link);
                    if link.on_hover_text("fly there: how much what it gives differs").clicked() {
                        chosen = Some(place.clone());
                    }
                }
            }
        }
    });
    if comparison.is_painted_after(atlas.model()) {
        let words = "Painted weights of O and down come after what heads and feed-forwards give: \
                     they show from the next layer on.";
        ui.label(RichText::new(words).size(11.5));
    }
    let is_of = comparison.is_of(mind);
    let switch = egui::Checkbox::new(&mut changed.wanted, "show on the land");
    let switch = ui.add_enabled(is_of, switch);
    switch
        .on_hover_text("light heads and feed-forwards by how much what they give differs")
        .on_disabled_hover_text("the land shows another answer now");
    chosen
}

/// Both answers, token by token.
fn both(ui: &mut Ui, comparison: &Comparison, theme: Theme) {
    let rows = comparison.rows();
    let fork = rows.iter().position(|row| !row.same);
    egui::ScrollArea::vertical().id_salt("both answers").max_height(MOST_HEIGHT).show(ui, |ui| {
        egui::Grid::new("both answers").num_columns(6).spacing([8.0, 2.0]).show(ui, |ui| {
            let before = if comparison.follows_change { "before" } else { "file" };
            for title in ["", before, "", "changed", "", "p"] {
                ui.colored_label(faint(theme), title);
            }
            ui.end_row();
            for (at, row) in rows.iter().enumerate() {
                // Not by colour alone; the first fork has a sign of its own.
                let sign = match fork {
                    Some(fork) if fork == at => "\u{25B6}",
                    _ if row.same => " ",
                    _ => "\u{2260}",
                };
                let sign = ui.colored_label(accent(theme), sign);
                if fork == Some(at) {
                    sign.on_hover_text("the first fork: from here on the texts are others");
                }
                side(ui, row.without.as_ref(), row.same, theme);
                side(ui, row.with.as_ref(), row.same, theme);
                let difference = row
                    .difference
                    .map_or(String::new(), |points| format!("{:+.1}", points * 100.0));
                ui.monospace(RichText::new(difference).size(11.5));
                ui.end_row();
            }
        });
    });
    ui.colored_label(
        faint(theme),
        "p: points of probability that the changed model gives the first answer's token more or \
         less, while both have the same text before it",
    );
}

fn side(ui: &mut Ui, side: Option<&ComparisonSide>, same: bool, theme: Theme) {
    let Some(side) = side else {
        ui.colored_label(faint(theme), "(end)");
        // A side has two columns.
        ui.label("");
        return;
    };
    let text = RichText::new(side.text.replace('\n', "\\n")).size(13.0).color(ink(theme));
    ui.label(if same { text } else { text.background_color(tint(theme, 1.0)) });
    ui.monospace(
        RichText::new(format!("{:.0} %", side.probability * 100.0)).size(11.5).color(faint(theme)),
    );
}

/// A story with a capital and a stop.
fn sentence(story: &str) -> String {
    let mut letters = story.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}
