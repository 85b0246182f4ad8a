//! The views that were kept of this model: each is gone to by a click, or forgotten.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};

use crate::panel::style::card;
use crate::world::camera::Navigate;
use crate::world::layout::Atlas;
use crate::world::settings::Settings;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    mut navigate: MessageWriter<Navigate>,
    mut settings: ResMut<Settings>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let title = atlas.title();
    let list = settings.bookmarks.get(&title).cloned().unwrap_or_default();
    if list.is_empty() {
        return Ok(());
    }
    let frame = card(settings.theme);
    let (mut chosen, mut forgotten) = (None, None);
    let area = egui::Area::new(egui::Id::new("bookmarks"));
    // Above the keys.
    area.anchor(egui::Align2::RIGHT_BOTTOM, egui::vec2(-12.0, -40.0)).show(context, |ui| {
        frame.show(ui, |ui| {
            ui.menu_button(format!("Bookmarks ({})", list.len()), |ui| {
                for (at, (name, _)) in list.iter().enumerate() {
                    ui.horizontal(|ui| {
                        if ui.button("x").on_hover_text("forget it").clicked() {
                            forgotten = Some(at);
                        }
                        if ui.button(format!("{}  {name}", at + 1)).clicked() {
                            chosen = Some(at);
                            ui.close();
                        }
                    });
                }
            });
        });
    });
    if let Some((_, view)) = chosen.and_then(|at: usize| list.get(at)) {
        navigate.write(Navigate::View(*view, None));
    }
    // Only here are the settings touched: what has changed is written to the disk.
    if let Some(at) = forgotten
        && let Some(list) = settings.bookmarks.get_mut(&title)
    {
        list.remove(at);
    }
    Ok(())
}
