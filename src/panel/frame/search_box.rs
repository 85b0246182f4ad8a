//! The search box: "layer 12 head 3", a tensor's name; Enter goes to the first.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Id, Key};

use crate::panel::controls::{Explained, with_key};
use crate::panel::labels::placement::Taken;
use crate::world::camera::{MapCamera, Navigate};
use crate::world::keys::UserAction;
use crate::world::layout::Atlas;
use crate::world::layout::search::search;
use crate::world::notices::Notices;
use crate::world::settings::Settings;

/// Points across it.
pub(crate) const ACROSS: f32 = 218.0;

/// What is typed into the search box.
#[derive(Resource, Debug, Clone, Default)]
pub struct SearchBox {
    /// What is looked for, as it is typed.
    pub text: String,
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    (atlas, camera): (Res<Atlas>, Res<MapCamera>),
    mut notices: ResMut<Notices>,
    mut navigate: MessageWriter<Navigate>,
    settings: Res<Settings>,
    mut actions: MessageReader<UserAction>,
    mut search_box: ResMut<SearchBox>,
    mut taken: ResMut<Taken>,
) -> Result {
    let is_wanted = UserAction::Search.is_among(&mut actions);
    let context = contexts.ctx_mut()?;
    let frame = crate::panel::style::card(settings.theme);
    let mut chosen = None;
    let left = camera.view.size[0] as f32 - ACROSS - 12.0;
    let area = egui::Area::new(Id::new("search")).fixed_pos(egui::pos2(left.max(0.0), 10.0));
    let shown = area.show(context, |ui| {
        frame.show(ui, |ui| {
            let hint = "search: layer 2 head 3";
            let edit = egui::TextEdit::singleline(&mut search_box.text)
                .hint_text(hint)
                .desired_width(190.0);
            let words =
                with_key(ui.ctx(), "a place by its name; Enter goes there", UserAction::Search);
            let response = ui.add(edit).explained(words);
            if is_wanted {
                response.request_focus();
            }
            let found = search(&atlas, &search_box.text);
            if response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter)) {
                chosen = found.first().cloned();
                if chosen.is_none() && !search_box.text.trim().is_empty() {
                    notices.tell(format!("nothing here is called {:?}", search_box.text.trim()));
                }
            }
            for place in found {
                let name = atlas.name(&place);
                if ui.selectable_label(false, &name).explained(format!("go to {name}")).clicked() {
                    chosen = Some(place);
                }
            }
        });
    });
    taken.rects.push(shown.response.rect);
    if let Some(place) = chosen {
        navigate.write(Navigate::To(place));
        search_box.text.clear();
    }
    Ok(())
}
