//! The search box: places of the map, tokens of the vocabulary, words of the answer. Arrows choose
//! among what is found, Enter takes it, the first where nobody chose; Escape takes the text back.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::text::{LayoutJob, TextFormat};
use egui::{Align2, Button, Color32, FontId, Id, Key, Modifiers, Order, vec2};

use crate::panel::charts::activity::Scrubbed;
use crate::panel::frame::drawer::written;
use crate::panel::style::{card, faint, ink};
use crate::world::camera::Navigate;
use crate::world::keys::UserAction;
use crate::world::layout::{Atlas, Place};
use crate::world::notices::Notices;
use crate::world::palette::Theme;
use crate::world::search::{Findings, Found, Search};
use crate::world::settings::Settings;
use crate::world::think::Generation;
use crate::world::think::lens::Lens;

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
    atlas: Res<Atlas>,
    (mind, lens): (Res<Generation>, Res<Lens>),
    mut notices: ResMut<Notices>,
    mut navigate: MessageWriter<Navigate>,
    settings: Res<Settings>,
    mut actions: MessageReader<UserAction>,
    mut search: ResMut<Search>,
    (mut search_box, mut scrubbed): (ResMut<SearchBox>, ResMut<Scrubbed>),
) -> Result {
    let is_wanted = UserAction::Search.is_among(&mut actions);
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    let typed = field(context, theme, is_wanted, &mut search_box);
    let found = search.find(&search_box.text, &atlas, (&mind, &lens), scrubbed.0);
    let last = found.found.len().saturating_sub(1);
    search_box.chosen = match typed {
        Typed::Other => 0,
        Typed::Up => search_box.chosen.saturating_sub(1),
        Typed::Down => (search_box.chosen + 1).min(last),
        _ => search_box.chosen.min(last),
    };
    let mut taken = list(context, theme, &atlas, found, search_box.chosen);
    if typed == Typed::Enter && taken.is_none() {
        taken = found.found.get(search_box.chosen).cloned();
        if taken.is_none() && !search_box.text.trim().is_empty() {
            notices.tell(format!("nothing here is called {:?}", search_box.text.trim()));
        }
    }
    let Some(taken) = taken else { return Ok(()) };
    if let Found::Word { at, .. } = taken {
        // The next one is a key away.
        scrubbed.0 = Some(at);
        context.memory_mut(|memory| memory.request_focus(id()));
        return Ok(());
    }
    navigate.write_batch(place_of(&taken).map(Navigate::To));
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
    theme: Theme,
    is_wanted: bool,
    search_box: &mut SearchBox,
) -> Typed {
    let mut typed = Typed::Nothing;
    let area = egui::Area::new(Id::new("search")).anchor(Align2::RIGHT_TOP, vec2(-12.0, 10.0));
    area.show(context, |ui| {
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
            response.on_hover_text(
                "a place of the map, a token of the vocabulary, a word of the answer (/); arrows \
                 choose, Enter goes there",
            );
        });
    });
    typed
}

/// What was found, below the field; gives what was clicked.
fn list(
    context: &egui::Context,
    theme: Theme,
    atlas: &Atlas,
    findings: &Findings,
    chosen: usize,
) -> Option<Found> {
    if findings.found.is_empty() && findings.notes.is_empty() {
        return None;
    }
    let mut clicked = None;
    let area = egui::Area::new(Id::new("found")).anchor(Align2::RIGHT_TOP, vec2(-12.0, 46.0));
    // Above the drawer, which is there too.
    area.order(Order::Foreground).show(context, |ui| {
        card(theme).show(ui, |ui| {
            ui.set_width(WIDE.min(context.content_rect().width() - 50.0));
            ui.spacing_mut().item_spacing.y = 1.0;
            let tall = context.content_rect().height() - 120.0;
            egui::ScrollArea::vertical().max_height(tall).show(ui, |ui| {
                for (at, found) in findings.found.iter().enumerate() {
                    let (kind, text, what) = words(atlas, found);
                    let row = line(theme, kind, &text);
                    let button = Button::selectable(at == chosen, row).truncate();
                    let wide = ui.available_width();
                    let response = ui.add(button.min_size(vec2(wide, 0.0)));
                    if response.on_hover_text(what).clicked() {
                        clicked = Some(found.clone());
                    }
                }
                for note in &findings.notes {
                    ui.colored_label(faint(theme), egui::RichText::new(note).size(11.5));
                }
            });
        });
    });
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
