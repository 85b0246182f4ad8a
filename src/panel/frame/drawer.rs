//! The drawer on the right: one instrument at a time, chosen by its name or its key.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, Id, RichText, vec2};

use crate::panel::OpenPanels;
use crate::panel::charts::activity::Scrubbed;
use crate::panel::style::{FADED, accent, card, faint, tint};
use crate::world::keys::UserAction;
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::tabs::{Instrument, ShownInstrument};
use crate::world::think::Generation;

/// Shows an instrument's window if it is the one that is open.
pub(crate) fn show(
    context: &egui::Context,
    panels: &OpenPanels,
    (shown, instrument, title): (&mut ShownInstrument, Instrument, &str),
    contents: impl FnOnce(&mut egui::Ui),
) {
    if shown.0 != Some(instrument) {
        return;
    }
    let mut open = true;
    // The inspector has the corner.
    let left = if panels.inspector { -286.0 } else { -12.0 };
    // One id for all instruments, so that egui takes them for the same window.
    let window = egui::Window::new(title).id(Id::new("drawer")).open(&mut open).resizable(false);
    let window =
        window.collapsible(false).default_width(WIDE).anchor(Align2::RIGHT_TOP, vec2(left, 56.0));
    window.show(context, |ui| {
        ui.set_width(WIDE);
        contents(ui);
    });
    if !open {
        shown.0 = None;
    }
}

/// Points across the drawer's contents.
pub(crate) const WIDE: f32 = 320.0;

/// Looks at the token before or after.
pub(crate) fn scrub(
    mut actions: MessageReader<UserAction>,
    mind: Res<Generation>,
    mut scrubbed: ResMut<Scrubbed>,
) {
    for action in actions.read() {
        let Some(latest) = mind.latest_place() else { continue };
        let at = scrubbed.0.unwrap_or(latest);
        match action {
            UserAction::Earlier => scrubbed.0 = Some(at.saturating_sub(1)),
            // Past the last, what is looked at follows the model again.
            UserAction::Later => scrubbed.0 = (at < latest).then_some(at + 1),
            _ => {}
        }
    }
}

/// The names of the instruments, left of the search box.
pub(crate) fn bar(
    mut contexts: EguiContexts,
    settings: Res<Settings>,
    mut drawer: ResMut<ShownInstrument>,
) -> Result {
    let context = contexts.ctx_mut()?;
    // On a narrow screen the trail and the search box have the line; instruments have keys too.
    if context.content_rect().width() < 900.0 {
        return Ok(());
    }
    let theme = settings.theme;
    let frame = card(theme).inner_margin(egui::Margin::symmetric(8, 6));
    let area =
        egui::Area::new(Id::new("instruments")).anchor(Align2::RIGHT_TOP, vec2(-238.0, 10.0));
    area.show(context, |ui| {
        frame.show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = 10.0;
                for tab in Instrument::ALL {
                    let is_open = drawer.0 == Some(tab);
                    let colour = if is_open { accent(theme) } else { faint(theme) };
                    let text = RichText::new(tab.name()).size(13.0).color(colour);
                    let text = if is_open { text.underline() } else { text };
                    let label =
                        egui::Label::new(text).sense(egui::Sense::click()).selectable(false);
                    if ui.add(label).clicked() {
                        drawer.toggle(tab);
                    }
                }
            });
        });
    });
    Ok(())
}

/// Where what is looked at is: the token that was chosen, if its step is done, or the latest.
pub(crate) fn place(mind: &Generation, scrubbed: &Scrubbed) -> Option<usize> {
    let latest = mind.latest_place()?;
    Some(scrubbed.0.filter(|&at| at <= latest).unwrap_or(latest))
}

/// A token as it is written in a list.
pub(crate) fn written(text: &str) -> String {
    format!("\u{201c}{}\u{201d}", text.replace('\n', "\\n").replace('\t', "\\t"))
}

/// What is said of what was computed before the model was changed.
pub(crate) const BEFORE_CHANGE: &str = "before the change";

/// Fades what follows where it was computed before the model was changed, and says so.
pub(crate) fn fade_before_change(ui: &mut egui::Ui, theme: Theme, mind: &Generation) {
    if mind.is_before_change() {
        ui.colored_label(accent(theme), BEFORE_CHANGE);
        ui.multiply_opacity(FADED);
    }
}

/// What is said in a drawer as long as nothing was thought.
pub(crate) fn nothing_yet(ui: &mut egui::Ui, theme: Theme) {
    ui.colored_label(faint(theme), "Ask something first: press Enter, type, and Enter again.");
}

/// A number with a bar behind it.
pub(crate) fn bar_cell(
    ui: &mut egui::Ui,
    theme: Theme,
    wide: f32,
    part: f32,
    text: &str,
) -> egui::Response {
    let (place, response) = ui.allocate_exact_size(vec2(wide, 16.0), egui::Sense::click());
    let full = egui::Rect::from_min_size(
        place.min,
        vec2(place.width() * part.clamp(0.0, 1.0), place.height()),
    );
    ui.painter().rect_filled(full.shrink2(vec2(0.0, 1.5)), 2.0, tint(theme, 0.8));
    let font = egui::FontId::monospace(11.0);
    ui.painter().text(
        place.left_center() + vec2(4.0, 0.0),
        Align2::LEFT_CENTER,
        text,
        font,
        crate::panel::style::ink(theme),
    );
    response
}
