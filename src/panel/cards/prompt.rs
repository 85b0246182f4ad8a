//! The prompt: text in, tokens out as they are made, each with its probability and what else might
//! have stood there.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Id, Key, Pos2, Rect, RichText, vec2};

use crate::panel::cards::answer::{alternatives, below, tokens};
use crate::panel::charts::activity::Scrubbed;
use crate::panel::charts::beams::Chips;
use crate::panel::controls::{Explained, clicked, key_button, with_key};
use crate::panel::frame::drawer::BEFORE_CHANGE;
use crate::panel::labels::placement::{Taken, map_of};
use crate::panel::style::{FADED, accent, card, faint, wrong};
use crate::world::camera::{MapCamera, Navigate};
use crate::world::damage::Damage;
use crate::world::keys::UserAction;
use crate::world::layout::Atlas;
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::think::Generation;

/// What is typed, and how it is meant.
#[derive(Resource, Debug, Clone)]
pub struct PromptBox {
    /// What is typed, which is asked as it is.
    pub text: String,
    /// Whether it is a message in a chat, where the model brings a chat template.
    pub chat: bool,
    /// The most tokens of the answer.
    pub tokens: u32,
    /// How freely to choose.
    pub temperature: f32,
}

impl Default for PromptBox {
    fn default() -> Self {
        Self { text: "Tell me a story.".into(), chat: true, tokens: 48, temperature: 0.0 }
    }
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    settings: Res<Settings>,
    mut actions: MessageReader<UserAction>,
    mut navigate: MessageWriter<Navigate>,
    (mut taken, damage): (ResMut<Taken>, Res<Damage>),
    mut mind: ResMut<Generation>,
    mut prompt: ResMut<PromptBox>,
    mut scrubbed: ResMut<Scrubbed>,
    mut chips: ResMut<Chips>,
) -> Result {
    let is_wanted = UserAction::Prompt.is_among(&mut actions);
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    // A tour's caption has the bottom of the screen, and the tokens come above it.
    let has_caption = taken.caption.is_some();
    if has_caption && mind.thoughts.is_empty() && mind.problem.is_none() {
        return Ok(());
    }
    let (place, wide) = room(&taken, map_of(&camera.view));
    let frame = card(theme).corner_radius(8.0).inner_margin(egui::Margin::same(8));
    let area = egui::Area::new(Id::new("prompt")).fixed_pos(place);
    let shown = area.pivot(egui::Align2::CENTER_BOTTOM).show(context, |ui| {
        frame.show(ui, |ui| {
            ui.set_width(wide);
            if !mind.thoughts.is_empty() {
                let is_before = mind.is_before_change();
                if is_before {
                    before_change(ui, theme, &mut mind);
                }
                ui.scope(|ui| {
                    if is_before {
                        ui.multiply_opacity(FADED);
                    }
                    tokens(ui, theme, &mind, &mut scrubbed, &mut chips);
                });
            }
            // A caption takes their place.
            if !has_caption && !mind.thoughts.is_empty() {
                alternatives(ui, theme, (&atlas, &mut mind), &mut scrubbed);
                below(ui, theme, (&atlas, &mut mind), prompt.chat);
            }
            if let Some(problem) = &mind.problem {
                ui.colored_label(wrong(theme), problem);
            }
            damaged(ui, theme, (&atlas, &damage), &mut mind, &mut navigate);
            if mind.ended_at_once() {
                let words = "the model ended its answer at once, without a word";
                ui.label(RichText::new(words).color(faint(theme)));
            }
            if has_caption {
                return;
            }
            let row = egui::Layout::right_to_left(egui::Align::Center);
            ui.allocate_ui_with_layout(vec2(wide, 22.0), row, |ui| {
                pace(ui, &mut mind);
                if question(ui, is_wanted, &mut prompt) {
                    // The token that was looked at is one of the last answer.
                    scrubbed.0 = None;
                    mind.paused = false;
                    let PromptBox { text, chat, tokens, temperature } = &*prompt;
                    match chat {
                        true => mind.say(atlas.model(), text, *tokens, *temperature),
                        false => mind.ask(atlas.model(), text, false, *tokens, *temperature),
                    }
                }
            });
        });
    });
    taken.rects.push(shown.response.rect);
    Ok(())
}

/// The middle of its lower edge, and points across what is in it.
fn room(taken: &Taken, map: Rect) -> (Pos2, f32) {
    let mut region = taken.bottom(map);
    if let Some(caption) = taken.caption {
        region.max.y = caption.top() - 6.0;
    }
    // The frame's margins are part of it.
    let around = 18.0;
    let wide = (region.width() - around).clamp(60.0, 560.0);
    (Taken::lowest(region, map, vec2(wide + around, 0.0)).center_bottom(), wide)
}

/// Above an answer that was computed before the model was changed.
fn before_change(ui: &mut egui::Ui, theme: Theme, mind: &mut Generation) {
    ui.horizontal(|ui| {
        ui.label(RichText::new(BEFORE_CHANGE).color(accent(theme)));
        let words = "answer the same prompt as the model is now";
        let state = (true, false);
        if key_button(ui, state, ("Answer again", words), UserAction::AnswerAgain) {
            mind.again = true;
        }
    });
}

/// Which tiles are damaged, and what can be done about it.
fn damaged(
    ui: &mut egui::Ui,
    theme: Theme,
    (atlas, damage): (&Atlas, &Damage),
    mind: &mut Generation,
    navigate: &mut MessageWriter<Navigate>,
) {
    let Some(place) = damage.place(atlas.model()) else { return };
    if let Some(words) = mind.damage_of_answer() {
        ui.colored_label(wrong(theme), format!("answered anyway: {words}"));
    } else if mind.problem.is_none()
        && let Some(words) = damage.words(atlas.model())
    {
        ui.colored_label(wrong(theme), words);
    }
    ui.horizontal(|ui| {
        if ui.button("Go there").explained("to the first damaged tile").clicked() {
            navigate.write(Navigate::To(place));
        }
        let anyway = "compute with the bytes that are there, and say so on the answer";
        if mind.refused().is_some() && ui.button("Answer anyway").explained(anyway).clicked() {
            mind.answer_anyway(atlas.model());
        }
    });
}

/// The field of the prompt between its buttons; whether the prompt is to be answered now.
fn question(ui: &mut egui::Ui, is_wanted: bool, prompt: &mut PromptBox) -> bool {
    ui.checkbox(&mut prompt.chat, "chat").explained(
        "as a message, where the model brings a chat template; without, the text as it is",
    );
    let is_asked = ui.button("Ask").explained("answer this prompt (Enter)").clicked();
    let wide = ui.available_width();
    let edit = egui::TextEdit::singleline(&mut prompt.text).hint_text("a prompt");
    let words = with_key(ui.ctx(), "what you ask or say; Enter asks it", UserAction::Prompt);
    let response = ui.add(edit.desired_width(wide)).explained(words);
    if is_wanted {
        response.request_focus();
    }
    // Enter takes the focus from a field of one line.
    let entered = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
    is_asked || entered
}

/// What can be done with the answer: from the right, as it stands beside the field.
fn pace(ui: &mut egui::Ui, mind: &mut Generation) {
    let words = with_key(ui.ctx(), "one token further, then pause", UserAction::Step);
    if ui.button("Step").explained(words).clicked() {
        mind.paused = true;
        mind.single = true;
    }
    let (word, what) = match mind.paused {
        true => ("Go on", "let the answer go on"),
        false => ("Pause", "hold the answer where it is"),
    };
    let words = with_key(ui.ctx(), what, UserAction::Pause);
    if ui.button(word).explained(words).clicked() {
        mind.paused = !mind.paused;
    }
    let may_stop = mind.is_busy() && !mind.answers_client();
    if clicked(ui, may_stop, egui::Button::new("Stop"), "end the answer here") {
        mind.stop();
    }
}
