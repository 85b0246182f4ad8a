//! The search box: places of the map, tokens of the vocabulary, words of the answer. Arrows choose
//! among what is found, Enter takes it, the first where nobody chose; Escape takes the text back.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::text::{LayoutJob, TextFormat};
use egui::{Align2, Button, Color32, FontId, Id, Key, Modifiers, Order, pos2, vec2};

use crate::panel::charts::activity::Scrubbed;
use crate::panel::controls::{Explained, with_key};
use crate::panel::frame::drawer::written;
use crate::panel::labels::placement::Taken;
use crate::panel::style::{card, faint, ink};
use crate::world::camera::{MapCamera, Navigate};
use crate::world::keys::UserAction;
use crate::world::layout::{Atlas, Place};
use crate::world::notices::Notices;
use crate::world::palette::Theme;
use crate::world::search::{Findings, Found, Search};
use crate::world::settings::Settings;
use crate::world::think::Generation;
use crate::world::think::lens::Lens;

/// Points across it.
pub(crate) const ACROSS: f32 = 218.0;
/// Points across what is found.
const WIDE: f32 = 330.0;

/// What is typed into the search box.
#[derive(Resource, Debug, Clone, Default)]
pub struct SearchBox {
    /// What is looked for, as it is typed.
    pub text: String,
    /// Which of what was found Enter takes.
    pub chosen: usize,
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    (atlas, camera): (Res<Atlas>, Res<MapCamera>),
    (mind, lens): (Res<Generation>, Res<Lens>),
    mut notices: ResMut<Notices>,
    mut navigate: MessageWriter<Navigate>,
    settings: Res<Settings>,
    mut actions: MessageReader<UserAction>,
    mut search: ResMut<Search>,
    (mut search_box, mut scrubbed): (ResMut<SearchBox>, ResMut<Scrubbed>),
    mut taken: ResMut<Taken>,
) -> Result {
    let is_wanted = UserAction::Search.is_among(&mut actions);
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    let right = camera.view.size[0] as f32 - 12.0;
    let (typed, place) = field(context, (theme, right), is_wanted, &mut search_box);
    taken.rects.push(place);
    let found = search.find(&search_box.text, &atlas, (&mind, &lens), scrubbed.0);
    let last = found.found.len().saturating_sub(1);
    search_box.chosen = match typed {
        Typed::Other => 0,
        Typed::Up => search_box.chosen.saturating_sub(1),
        Typed::Down => (search_box.chosen + 1).min(last),
        _ => search_box.chosen.min(last),
    };
    let mut wanted = list(context, (theme, right), (&atlas, found, search_box.chosen), &mut taken);
    if typed == Typed::Enter && wanted.is_none() {
        wanted = found.found.get(search_box.chosen).cloned();
        if wanted.is_none() && !search_box.text.trim().is_empty() {
            notices.tell(format!("nothing here is called {:?}", search_box.text.trim()));
        }
    }
    let Some(wanted) = wanted else { return Ok(()) };
    if let Found::Word { at, .. } = wanted {
        // The next one is a key away.
        scrubbed.0 = Some(at);
        context.memory_mut(|memory| memory.request_focus(id()));
        return Ok(());
    }
    navigate.write_batch(place_of(&wanted).map(Navigate::To));
    *search_box = SearchBox::default();
    Ok(())
}

/// What was done in the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Typed {
    Nothing,
    Other,
    Up,
    Down,
    Enter,
}

fn id() -> Id {
    Id::new("search field")
}

/// The field, in the corner.
fn field(
    context: &egui::Context,
    (theme, right): (Theme, f32),
    is_wanted: bool,
    search_box: &mut SearchBox,
) -> (Typed, egui::Rect) {
    let mut typed = Typed::Nothing;
    let left = (right - ACROSS).max(0.0);
    let area = egui::Area::new(Id::new("search")).fixed_pos(pos2(left, 10.0));
    let shown = area.show(context, |ui| {
        card(theme).show(ui, |ui| {
            if ui.memory(|memory| memory.has_focus(id())) {
                // Else they would move the cursor in the text.
                ui.input_mut(|input| {
                    for (key, meant) in [(Key::ArrowUp, Typed::Up), (Key::ArrowDown, Typed::Down)] {
                        if input.consume_key(Modifiers::NONE, key) {
                            typed = meant;
                        }
                    }
                });
            }
            let edit = egui::TextEdit::singleline(&mut search_box.text).id(id());
            let response = ui.add(edit.hint_text("search: L2 H3, Paris").desired_width(190.0));
            if is_wanted {
                response.request_focus();
            }
            let is_pressed = |key| ui.input(|input| input.key_pressed(key));
            if response.changed() {
                typed = Typed::Other;
            } else if response.lost_focus() && is_pressed(Key::Enter) {
                typed = Typed::Enter;
            } else if response.lost_focus() && is_pressed(Key::Escape) {
                *search_box = SearchBox::default();
            }
            let words = "a place of the map, a token of the vocabulary, a word of the answer; \
                         arrows choose, Enter goes there";
            response.explained(with_key(ui.ctx(), words, UserAction::Search));
        });
    });
    (typed, shown.response.rect)
}

/// What was found, below the field; gives what was clicked.
fn list(
    context: &egui::Context,
    (theme, right): (Theme, f32),
    (atlas, findings, chosen): (&Atlas, &Findings, usize),
    taken: &mut Taken,
) -> Option<Found> {
    if findings.found.is_empty() && findings.notes.is_empty() {
        return None;
    }
    let mut clicked = None;
    let area = egui::Area::new(Id::new("found")).fixed_pos(pos2(right, 46.0));
    // A list that is open lies above what else is on the map.
    let shown = area.pivot(Align2::RIGHT_TOP).order(Order::Foreground).show(context, |ui| {
        card(theme).show(ui, |ui| {
            ui.set_width(WIDE.min(right - 38.0));
            ui.spacing_mut().item_spacing.y = 1.0;
            let tall = context.content_rect().height() - 120.0;
            egui::ScrollArea::vertical().max_height(tall).show(ui, |ui| {
                for (at, found) in findings.found.iter().enumerate() {
                    let (kind, text, what) = words(atlas, found);
                    let row = line(theme, kind, &text);
                    let button = Button::selectable(at == chosen, row).truncate();
                    let wide = ui.available_width();
                    let response = ui.add(button.min_size(vec2(wide, 0.0)));
                    if response.explained(what).clicked() {
                        clicked = Some(found.clone());
                    }
                }
                for note in &findings.notes {
                    ui.colored_label(faint(theme), egui::RichText::new(note).size(11.5));
                }
            });
        });
    });
    taken.rects.push(shown.response.rect);
    clicked
}

/// What kind of thing is found, what it is, and what comes of a click.
fn words(atlas: &Atlas, found: &Found) -> (&'static str, String, &'static str) {
    let percent = |part: f32| format!("{:.1} %", part * 100.0);
    match found {
        Found::Place(place) => ("place", atlas.name(place), "fly there"),
        Found::Token { token, text } => (
            "token",
            format!("{}   {token}", written(text)),
            "fly to its line in the token embedding, the sea of words",
        ),
        Found::Word { at, is_prompt, around } => {
            let of = if *is_prompt { "prompt" } else { "answer" };
            let around = crate::terminal::one_line(around).into_owned();
            (of, format!("{around}   token {at}"), "look at this token")
        }
        Found::Head { head: (layer, head), share, from } => (
            "head",
            format!("layer {layer} head {head} looks at it: {} from token {from}", percent(*share)),
            "fly there; the share of its attention that all its places have together",
        ),
        Found::Layer { layer, text, probability, after } => {
            let layer = layer.map_or("the input".into(), |layer| format!("layer {layer}"));
            let (text, chance) = (written(text), percent(*probability));
            let words = format!("{layer} would say {text} after token {after}: {chance}");
            ("lens", words, "fly there; what the logit lens says of it")
        }
    }
}

/// Where something that was found is.
fn place_of(found: &Found) -> Option<Place> {
    Some(match found {
        Found::Place(place) => place.clone(),
        Found::Token { token, .. } => Place::Token(*token),
        Found::Head { head: (layer, head), .. } => Place::Head(*layer, *head),
        Found::Layer { layer: None, .. } => Place::Embedding,
        Found::Layer { layer: Some(layer), .. } => Place::Layer(*layer),
        Found::Word { .. } => return None,
    })
}

/// A line of what is found: its kind, and what it is.
fn line(theme: Theme, kind: &str, text: &str) -> LayoutJob {
    let mut line = LayoutJob::default();
    let format = |font: FontId, colour: Color32| TextFormat::simple(font, colour);
    // As wide as the longest kind, so that all names begin one below the other.
    line.append(&format!("{kind:<7}"), 0.0, format(FontId::monospace(11.0), faint(theme)));
    line.append(text, 0.0, format(FontId::proportional(13.0), ink(theme)));
    line
}
