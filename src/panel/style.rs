//! Colours and sizes of text and panels, in light and dark.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Color32, Stroke, Visuals};

use crate::world::palette::Theme;
use crate::world::settings::Settings;

/// What is written on the ground.
pub fn ink(theme: Theme) -> Color32 {
    match theme {
        Theme::Dark => Color32::from_rgb(0xE8, 0xEC, 0xF2),
        Theme::Light => Color32::from_rgb(0x1C, 0x22, 0x2B),
    }
}

/// What is written and matters less; at least 4.5 to 1 against the ground.
pub fn faint(theme: Theme) -> Color32 {
    match theme {
        Theme::Dark => Color32::from_rgb(0x9A, 0xA6, 0xB8),
        Theme::Light => Color32::from_rgb(0x52, 0x5C, 0x6B),
    }
}

/// What lies under text on the map.
pub fn backing(theme: Theme) -> Color32 {
    let [r, g, b] = theme.ground();
    Color32::from_rgba_unmultiplied(r, g, b, 215)
}

/// What is selected.
pub fn accent(theme: Theme) -> Color32 {
    match theme {
        Theme::Dark => Color32::from_rgb(0xFF, 0xD9, 0x66),
        Theme::Light => Color32::from_rgb(0x8A, 0x5A, 0x00),
    }
}

/// What was edited: the colour of the corner that the shader gives an edited tile.
pub fn edited(theme: Theme) -> Color32 {
    match theme {
        Theme::Dark => Color32::from_rgb(0xFF, 0x7A, 0xD0),
        Theme::Light => Color32::from_rgb(0xA8, 0x00, 0x72),
    }
}

/// The frame of a window that is read and typed into: the map below does not shine through.
pub fn opaque(context: &egui::Context) -> egui::Frame {
    let style = context.global_style();
    let fill = style.visuals.window_fill.to_opaque();
    egui::Frame::window(&style).fill(fill)
}

pub(super) fn set_style(
    mut contexts: EguiContexts,
    settings: Res<Settings>,
    mut shown: Local<Option<Theme>>,
) -> Result {
    let context = contexts.ctx_mut()?;
    if *shown == Some(settings.theme) {
        return Ok(());
    }
    *shown = Some(settings.theme);
    let mut visuals = if settings.theme == Theme::Dark { Visuals::dark() } else { Visuals::light() };
    visuals.panel_fill = backing(settings.theme);
    visuals.window_fill = backing(settings.theme).gamma_multiply(1.1);
    visuals.window_stroke = Stroke::new(1.0, faint(settings.theme).gamma_multiply(0.35));
    visuals.override_text_color = Some(ink(settings.theme));
    context.set_visuals(visuals);
    Ok(())
}
