//! What is wrong with mods, in words, until it is mended or read.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};

use crate::panel::style::{accent, faint, ink};
use crate::world::hot_reload::LiveMods;
use crate::world::settings::Settings;

/// The most problems that are written out.
const MOST: usize = 12;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    settings: Res<Settings>,
    live: Option<ResMut<LiveMods>>,
) -> Result {
    let Some(mut live) = live.filter(|live| !live.dismissed && !live.problems.is_empty()) else {
        return Ok(());
    };
    let theme = settings.theme;
    let mut close = false;
    egui::Window::new("mods")
        .title_bar(false)
        .resizable(false)
        .anchor(egui::Align2::LEFT_TOP, [12.0, 52.0])
        .show(contexts.ctx_mut()?, |ui| {
            ui.set_max_width(520.0);
            ui.horizontal(|ui| {
                ui.label(egui::RichText::new("A mod has an error").color(accent(theme)).strong());
                close = ui.button("close").clicked();
            });
            ui.label(egui::RichText::new("What was good before stays in use.").color(faint(theme)));
            for problem in live.problems.iter().take(MOST) {
                ui.label(
                    egui::RichText::new(problem.to_string())
                        .monospace()
                        .color(ink(theme))
                        .size(12.0),
                );
            }
            let more = live.problems.len().saturating_sub(MOST);
            if more > 0 {
                let text = format!("and {more} more: pixel-llm mods check");
                ui.label(egui::RichText::new(text).color(faint(theme)));
            }
        });
    if close {
        live.dismissed = true;
    }
    Ok(())
}
