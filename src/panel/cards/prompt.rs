//! The prompt: text in, tokens out as they are made, each with its probability and what else might
//! have stood there.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Id, Key, RichText, vec2};

use crate::panel::cards::answer::{alternatives, below, tokens};
use crate::panel::charts::activity::Scrubbed;
use crate::panel::charts::beams::Chips;
use crate::panel::frame::drawer::BEFORE_CHANGE;
use crate::panel::labels::placement::Taken;
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
    (taken, damage): (Res<Taken>, Res<Damage>),
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
    let [across, low] = room(camera.view.size[0] as f32);
    let frame = card(theme).corner_radius(8.0).inner_margin(egui::Margin::same(8));
    let up =
        taken.caption.map_or(low, |caption| context.content_rect().bottom() - caption.top() + 6.0);
    let area =
        egui::Area::new(Id::new("prompt")).anchor(egui::Align2::CENTER_BOTTOM, vec2(0.0, -up));
    area.show(context, |ui| {
        frame.show(ui, |ui| {
            let wide = across.min(560.0);
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
    Ok(())
}

/// Points across for the prompt, and its height above the bottom of a screen.
fn room(screen: f32) -> [f32; 2] {
    // What stands on both sides (chrome's `BESIDE`, 322 each) stays free where that leaves room for
    // a sentence; on a narrow screen the prompt lies above it.
    match screen - 644.0 {
        beside if beside >= 420.0 => [beside, 12.0],
        _ => [(screen - 40.0).max(120.0), 52.0],
    }
}

/// Above an answer that was computed before the model was changed.
fn before_change(ui: &mut egui::Ui, theme: Theme, mind: &mut Generation) {
    ui.horizontal(|ui| {
        ui.label(RichText::new(BEFORE_CHANGE).color(accent(theme)));
        let button = ui.button("Answer again (R)");
        if button.on_hover_text("answer the same prompt as the model is now").clicked() {
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
        if ui.button("Go there").on_hover_text("to the first damaged tile").clicked() {
            navigate.write(Navigate::To(place));
        }
        let anyway = "compute with the bytes that are there, and say so on the answer";
        if mind.refused().is_some() && ui.button("Answer anyway").on_hover_text(anyway).clicked() {
            mind.answer_anyway(atlas.model());
        }
    });
}

/// The field of the prompt between its buttons; whether the prompt is to be answered now.
fn question(ui: &mut egui::Ui, is_wanted: bool, prompt: &mut PromptBox) -> bool {
    ui.checkbox(&mut prompt.chat, "chat").on_hover_text(
        "as a message, where the model brings a chat template; without, the text as it is",
    );
    let clicked = ui.button("Ask").on_hover_text("answer this prompt (Enter)").clicked();
    let wide = ui.available_width();
    let edit = egui::TextEdit::singleline(&mut prompt.text).hint_text("a prompt");
    let response = ui.add(edit.desired_width(wide));
    if is_wanted {
        response.request_focus();
    }
    // Enter takes the focus from a field of one line.
    let entered = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
    clicked || entered
}

/// What can be done with the answer: from the right, as it stands beside the field.
fn pace(ui: &mut egui::Ui, mind: &mut Generation) {
    if ui.button("Step").on_hover_text("one token further, then pause (N)").clicked() {
        mind.paused = true;
        mind.single = true;
    }
    let (word, what) = match mind.paused {
        true => ("Go on", "let the answer go on (Space)"),
        false => ("Pause", "hold the answer where it is (Space)"),
    };
    if ui.button(word).on_hover_text(what).clicked() {
        mind.paused = !mind.paused;
    }
    let stop = ui.add_enabled(mind.is_busy(), egui::Button::new("Stop"));
    if stop.on_hover_text("end the answer here").clicked() {
        mind.stop();
    }
}
