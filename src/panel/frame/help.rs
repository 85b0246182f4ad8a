//! The list of keys.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::RichText;

use super::drawer::{WIDE, show};
use crate::panel::style::{accent, faint};
use crate::world::keys::KeyBindings;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};

/// What is done by hand.
const BY_HAND: [(&str, &str); 4] = [
    ("drag", "move the map"),
    ("wheel", "zoom to the cursor"),
    ("click", "select"),
    ("double click", "dive"),
];

pub(crate) fn draw(
    mut contexts: EguiContexts,
    keys: Res<KeyBindings>,
    settings: Res<Settings>,
    drawer: Res<Drawer>,
) -> Result {
    let theme = settings.theme;
    show(contexts.ctx_mut()?, theme, (&drawer, Tab::Keys), |ui| {
        let grid = egui::Grid::new("keys").spacing([16.0, 3.0]).max_col_width((WIDE - 16.0) / 2.0);
        grid.show(ui, |ui| {
            let by_hand = BY_HAND.map(|(how, what)| (how.to_owned(), what));
            let keys = keys.list().map(|(action, names)| (names, action.name()));
            for (how, what) in by_hand.into_iter().chain(keys) {
                ui.add(egui::Label::new(RichText::new(how).color(accent(theme))).wrap());
                ui.add(egui::Label::new(what).wrap());
                ui.end_row();
            }
        });
        ui.colored_label(faint(theme), "a mod can change them: keys/default");
    });
    Ok(())
}
