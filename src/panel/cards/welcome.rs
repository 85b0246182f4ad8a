//! The first time: two sentences and the way to the tour, over a land that is already lit.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Id, Key, Rect, RichText, vec2};

use crate::panel::PromptBox;
use crate::panel::controls::{clicked, with_key};
use crate::panel::labels::placement::{Taken, map_of};
use crate::panel::style::{accent, card, ink, veil};
use crate::world::camera::MapCamera;
use crate::world::keys::UserAction;
use crate::world::layout::Atlas;
use crate::world::settings::{Settings, SettingsFile};
use crate::world::think::Generation;
use crate::world::tour::TourRun;
use crate::world::view::View;

/// The most weights of a model that is asked something before a person asks: what takes long is
/// asked when it is wanted.
const MOST_WEIGHTS: u64 = 50_000_000;
/// Tokens of its first words.
const FIRST_WORDS: u32 = 24;

/// Where one was and what was thought when the welcome was first shown: who goes on has read it.
#[derive(Default)]
pub(crate) struct Since(Option<(View, u64)>);

/// Asks a small model something, so that the land is lit.
fn first_words(atlas: &Atlas, prompt: &PromptBox, mind: &mut Generation) {
    if atlas.model().weight_count() <= MOST_WEIGHTS && mind.thoughts.is_empty() {
        mind.ask(atlas.model(), &prompt.text, prompt.chat, FIRST_WORDS, 0.0);
    }
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    mut actions: MessageWriter<UserAction>,
    file: Option<Res<SettingsFile>>,
    tour: Option<Res<TourRun>>,
    prompt: Res<PromptBox>,
    mut settings: ResMut<Settings>,
    mut mind: ResMut<Generation>,
    mut taken: ResMut<Taken>,
    mut since: Local<Since>,
) -> Result {
    // Where nothing is kept nobody could say that they were here before.
    let is_kept = file.is_some_and(|file| file.0.is_some());
    if !is_kept || settings.welcomed || tour.is_some() {
        return Ok(());
    }
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    let Some((view, generation)) = since.0 else {
        first_words(&atlas, &prompt, &mut mind);
        // After the question, which is a generation itself: a later one is the person's.
        since.0 = Some((camera.view, mind.generation()));
        return Ok(());
    };
    // Another size of the window is another view, and nobody has gone on.
    let resized = camera.view.size != view.size;
    if resized {
        since.0 = Some((camera.view, generation));
    }
    if !resized && (camera.view != view || mind.generation() != generation) {
        settings.welcomed = true;
        return Ok(());
    }
    let [mut to_tour, mut done] = [false; 2];
    let map = map_of(&camera.view);
    let id = Id::new("welcome");
    let size =
        context.memory(|memory| memory.area_rect(id)).map_or(vec2(480.0, 160.0), |r| r.size());
    let middle = map.center() - vec2(0.0, 60.0);
    // Beside an open drawer and a long answer there may be no room: then it waits.
    let Some(place) = taken.lowered(map, Rect::from_center_size(middle, size)) else {
        return Ok(());
    };
    let area = egui::Area::new(id).fixed_pos(place.center()).pivot(egui::Align2::CENTER_CENTER);
    let shown = area.show(context, |ui| {
        let stroke = egui::Stroke::new(1.0, veil(accent(theme), 0.4));
        let frame = card(theme).stroke(stroke).corner_radius(10.0);
        frame.inner_margin(egui::Margin::symmetric(22, 16)).show(ui, |ui| {
            ui.set_width(440.0f32.min(map.width() - 80.0).max(120.0));
            let name = atlas.title();
            let text = format!(
                "This land is {name}, a whole language model: each pixel is one of its numbers, \
                 and the river carries what it thinks. Walk anywhere, ask it something, and \
                 change what you like: the file stays as it is."
            );
            ui.label(RichText::new(text).size(15.5).color(ink(theme)));
            ui.add_space(8.0);
            ui.horizontal(|ui| {
                let button = |text| egui::Button::new(RichText::new(text).size(15.0));
                let words = "shows what a transformer is on this land";
                let words = with_key(ui.ctx(), words, UserAction::TakeTour);
                to_tour = clicked(ui, true, button("Take the tour"), words);
                let words = "closes this card; the tour can be taken later";
                done |= clicked(ui, true, button("Walk by myself"), words);
            });
        });
    });
    taken.rects.push(shown.response.rect);
    done |= context.input(|input| input.key_pressed(Key::Escape));
    if to_tour {
        actions.write(UserAction::TakeTour);
    }
    if to_tour || done {
        settings.welcomed = true;
    }
    Ok(())
}
