//! The prompt: text in, tokens out as they are made, each with its probability and what else might
//! have stood there.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Id, Key, RichText, vec2};

use crate::panel::charts::activity::Scrubbed;
use crate::panel::charts::beams::Chips;
use crate::panel::frame::drawer::BEFORE_CHANGE;
use crate::panel::labels::placement::Taken;
use crate::panel::style::{FADED, accent, card, faint, ink, tint, wrong};
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

/// Tokens that are shown; those before them have scrolled out.
const MOST_SHOWN: usize = 64;

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
    // What stands on both sides (chrome's `BESIDE`, 322 each) stays free.
    let wide = 560.0f32.min(camera.view.size[0] as f32 - 644.0).max(220.0);
    let frame = card(theme).corner_radius(8.0).inner_margin(egui::Margin::same(8));
    let up =
        taken.caption.map_or(12.0, |caption| context.content_rect().bottom() - caption.top() + 6.0);
    let area =
        egui::Area::new(Id::new("prompt")).anchor(egui::Align2::CENTER_BOTTOM, vec2(0.0, -up));
    area.show(context, |ui| {
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
                    // A caption takes their place.
                    if !has_caption {
                        alternatives(ui, theme, &mind);
                    }
                });
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
            ui.horizontal(|ui| {
                if question(ui, wide, is_wanted, &mut prompt.text) {
                    // The token that was looked at is one of the last answer.
                    scrubbed.0 = None;
                    mind.paused = false;
                    let PromptBox { text, chat, tokens, temperature } = &*prompt;
                    mind.ask(atlas.model(), text, *chat, *tokens, *temperature);
                }
                pace(ui, &mut mind);
                ui.checkbox(&mut prompt.chat, "chat").on_hover_text(
                    "as a message, where the model brings a chat template; without, the text as it \
                     is",
                );
            });
        });
    });
    Ok(())
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

/// The field of the prompt and its button; whether the prompt is to be answered now.
fn question(ui: &mut egui::Ui, wide: f32, is_wanted: bool, text: &mut String) -> bool {
    let edit = egui::TextEdit::singleline(text).hint_text("a prompt").desired_width(wide - 250.0);
    let response = ui.add(edit);
    if is_wanted {
        response.request_focus();
    }
    // Enter takes the focus from a field of one line.
    let entered = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
    ui.button("Ask").clicked() || entered
}

/// Pause, go on, or one token.
fn pace(ui: &mut egui::Ui, mind: &mut Generation) {
    let word = if mind.paused { "Go on" } else { "Pause" };
    if ui.button(word).clicked() {
        mind.paused = !mind.paused;
    }
    if ui.button("Step").clicked() {
        mind.paused = true;
        mind.single = true;
    }
}

/// The sequence as chips: the shade is the probability; a click looks back at the token.
fn tokens(
    ui: &mut egui::Ui,
    theme: Theme,
    mind: &Generation,
    scrubbed: &mut Scrubbed,
    chips: &mut Chips,
) {
    chips.0.clear();
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(1.0, 2.0);
        let first = mind.thoughts.len().saturating_sub(MOST_SHOWN);
        for (at, thought) in mind.thoughts.iter().enumerate().skip(first) {
            let text =
                // The font has no sign for a line's end.
                RichText::new(thought.text.replace('\n', "\\n")).size(14.0).color(ink(theme));
            let text = match thought.probability {
                Some(probability) => text.background_color(tint(theme, probability)),
                None => text.color(faint(theme)),
            };
            let text = if scrubbed.0 == Some(at) { text.underline() } else { text };
            let label =
                ui.add(egui::Label::new(text).sense(egui::Sense::click()).selectable(false));
            chips.0.push((at, label.rect));
            let label = label.on_hover_ui(|ui| {
                let Some(probability) = thought.probability else {
                    ui.label("of the prompt");
                    return;
                };
                ui.label(format!("token {}: {:.1} %", thought.token, probability * 100.0));
                for (text, probability) in &thought.alternatives {
                    ui.monospace(format!("{:5.1} %  {text:?}", probability * 100.0));
                }
            });
            if label.clicked() {
                scrubbed.0 = (scrubbed.0 != Some(at)).then_some(at);
            }
        }
    });
}

/// What else might have stood where the latest token stands.
fn alternatives(ui: &mut egui::Ui, theme: Theme, mind: &Generation) {
    let latest = mind.thoughts.last().filter(|thought| !thought.alternatives.is_empty());
    if let Some(thought) = latest {
        let list: Vec<String> = thought
            .alternatives
            .iter()
            .take(4)
            .map(|(text, probability)| format!("{text:?} {:.0} %", probability * 100.0))
            .collect();
        ui.label(RichText::new(list.join("   ")).size(11.5).color(faint(theme)));
    }
}
