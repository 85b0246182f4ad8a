//! What is wrong with mods, in words.

use bevy::prelude::*;
use bevy_egui::EguiContexts;
use bevy_egui::egui::RichText;

use crate::panel::frame::drawer::show;
use crate::panel::style::{accent, faint, ink};
use crate::world::hot_reload::LiveMods;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};

/// The most problems that are written out.
const MOST: usize = 12;

/// What is wrong is shown as soon as it is known.
pub(crate) fn open_on_news(mut live: ResMut<LiveMods>, mut drawer: ResMut<Drawer>) {
    live.is_news = false;
    drawer.0 = Some(Tab::Mods);
}

/// Whether there is something that nobody was shown.
pub(crate) fn is_news(live: Option<Res<LiveMods>>) -> bool {
    live.is_some_and(|live| live.is_news)
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    settings: Res<Settings>,
    live: Option<Res<LiveMods>>,
    drawer: Res<Drawer>,
) -> Result {
    let theme = settings.theme;
    let problems = live.as_ref().map_or(&[][..], |live| &live.problems);
    show(contexts.ctx_mut()?, theme, (&drawer, Tab::Mods), |ui| {
        if problems.is_empty() {
            ui.label("Nothing is wrong with the mods that are loaded.");
            ui.colored_label(faint(theme), "pixel-llm mods list says which they are.");
            return;
        }
        ui.label(RichText::new("A mod has an error").color(accent(theme)).strong());
        ui.colored_label(faint(theme), "What was good before stays in use.");
        for problem in problems.iter().take(MOST) {
            let text = RichText::new(problem.to_string()).monospace().size(12.0);
            ui.label(text.color(ink(theme)));
        }
        let more = problems.len().saturating_sub(MOST);
        if more > 0 {
            let text = format!("and {more} more: pixel-llm mods check");
            ui.colored_label(faint(theme), text);
        }
    });
    Ok(())
}
