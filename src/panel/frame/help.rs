//! The list of keys.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};

use crate::panel::OpenPanels;
use crate::panel::style::{accent, card, faint};
use crate::world::keys::KeyBindings;
use crate::world::settings::Settings;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    keys: Res<KeyBindings>,
    settings: Res<Settings>,
    mut panels: ResMut<OpenPanels>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    let mut open = panels.help;
    let window = egui::Window::new("Keys").open(&mut open).collapsible(false).resizable(false);
    window.anchor(egui::Align2::CENTER_CENTER, egui::Vec2::ZERO).show(context, |ui| {
        let by_hand = [
            ("drag", "move the map"),
            ("wheel", "zoom to the cursor"),
            ("click", "select"),
            ("double click", "dive"),
        ];
        let by_hand = by_hand.map(|(how, what)| (how.to_owned(), what.to_owned()));
        let keys = keys.list().map(|(action, names)| (names, action.name().to_owned()));
        let rows: Vec<(String, String)> = by_hand.into_iter().chain(keys).collect();
        let half = rows.len().div_ceil(2);
        let tall = (context.content_rect().height() - 120.0).max(60.0);
        egui::ScrollArea::vertical().max_height(tall).show(ui, |ui| {
            // Two to a line: all of them are seen at once.
            egui::Grid::new("keys").spacing([18.0, 3.0]).show(ui, |ui| {
                for at in 0..half {
                    for (how, what) in rows.iter().skip(at).step_by(half).take(2) {
                        ui.colored_label(accent(theme), how);
                        ui.label(what);
                    }
                    ui.end_row();
                }
            });
        });
        ui.colored_label(faint(theme), "a mod can change them: keys/default");
    });
    panels.help = open;
    if !panels.help {
        let corner = egui::Area::new(egui::Id::new("help hint"));
        corner
            .anchor(egui::Align2::RIGHT_BOTTOM, egui::vec2(-12.0, -8.0))
            .interactable(false)
            .show(context, |ui| {
                card(theme).show(ui, |ui| {
                    ui.colored_label(
                        faint(theme),
                        "F1 keys   I inspector   X experiment   / search",
                    );
                });
            });
    }
    Ok(())
}
