//! The views that were kept of this model: each is gone to by a click, or forgotten.

use bevy::prelude::*;
use bevy_egui::EguiContexts;

use crate::panel::controls::{Explained, with_key};
use crate::panel::frame::drawer::show;
use crate::panel::style::faint;
use crate::world::camera::Navigate;
use crate::world::keys::UserAction;
use crate::world::layout::Atlas;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    mut navigate: MessageWriter<Navigate>,
    mut actions: MessageWriter<UserAction>,
    mut settings: ResMut<Settings>,
    drawer: Res<Drawer>,
) -> Result {
    let (title, theme) = (atlas.title(), settings.theme);
    let list = settings.bookmarks.get(&title).cloned().unwrap_or_default();
    let (mut chosen, mut forgotten) = (None, None);
    show(contexts.ctx_mut()?, theme, (&drawer, Tab::Bookmarks), |ui| {
        let keep = with_key(ui.ctx(), "Keep this view", UserAction::Bookmark);
        if ui.button(keep).explained("as a place that can be gone back to").clicked() {
            actions.write(UserAction::Bookmark);
        }
        let next = with_key(ui.ctx(), "The key for the next one", UserAction::NextBookmark);
        ui.colored_label(faint(theme), if list.is_empty() { "None is kept yet." } else { &next });
        for (at, (name, _)) in list.iter().enumerate() {
            ui.horizontal(|ui| {
                if ui.button("Forget").explained(format!("forget {name}")).clicked() {
                    forgotten = Some(at);
                }
                if ui.button(name).explained("go there").clicked() {
                    chosen = Some(at);
                }
            });
        }
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
