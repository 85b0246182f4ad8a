//! Colours and sizes of text and panels, in light and dark.
//!
//! What is drawn is mixed in linear light, so what is seen through is made by [`veil`], and nothing
//! that is read is seen through.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::ecolor::{gamma_u8_from_linear_f32, linear_f32_from_gamma_u8};
use egui::{Color32, Stroke, Visuals};

use super::controls::keep_keys;
use crate::world::keys::KeyBindings;
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::think::Generation;

/// What is written on the ground.
pub(crate) fn ink(theme: Theme) -> Color32 {
    match theme {
        Theme::Dark => Color32::from_rgb(0xE8, 0xEC, 0xF2),
        Theme::Light => Color32::from_rgb(0x1C, 0x22, 0x2B),
    }
}

/// What is written and matters less; at least 4.5 to 1 against the ground.
pub(crate) fn faint(theme: Theme) -> Color32 {
    match theme {
        Theme::Dark => Color32::from_rgb(0x9A, 0xA6, 0xB8),
        Theme::Light => Color32::from_rgb(0x4C, 0x55, 0x63),
    }
}

/// What lies under text on the map.
pub(crate) fn backing(theme: Theme) -> Color32 {
    let [r, g, b] = theme.ground();
    Color32::from_rgb(r, g, b)
}

/// What lies under panels: a little above the ground, so that a panel is told from empty land.
pub(crate) fn solid(theme: Theme) -> Color32 {
    match theme {
        Theme::Dark => Color32::from_rgb(0x12, 0x17, 0x21),
        Theme::Light => Color32::from_rgb(0xFC, 0xFA, 0xF6),
    }
}

/// What is selected or chosen, and what is going on.
pub(crate) fn accent(theme: Theme) -> Color32 {
    match theme {
        Theme::Dark => Color32::from_rgb(0xFF, 0xD9, 0x66),
        Theme::Light => Color32::from_rgb(0x80, 0x52, 0x00),
    }
}

/// What was edited: the colour of the corner that the shader gives an edited tile.
pub fn edited(theme: Theme) -> Color32 {
    match theme {
        Theme::Dark => Color32::from_rgb(0xFF, 0x7A, 0xD0),
        Theme::Light => Color32::from_rgb(0xA8, 0x00, 0x72),
    }
}

/// What is left of the strength of what was computed before the model was changed.
pub(crate) const FADED: f32 = 0.45;

/// What everything that was computed is multiplied by: less where the model was changed since.
pub(crate) fn strength(mind: &Generation) -> f32 {
    strength_of(mind.is_before_change())
}

/// What something that is of before a change, or is not, is multiplied by.
pub(crate) fn strength_of(is_before: bool) -> f32 {
    if is_before { FADED } else { 1.0 }
}

/// A colour of a palette, each channel in 0 to 1.
pub(crate) fn of_palette(channels: [f32; 3]) -> Color32 {
    let [r, g, b] = channels.map(|channel| (channel * 255.0).round() as u8);
    Color32::from_rgb(r, g, b)
}

/// What went wrong, in words.
pub fn wrong(theme: Theme) -> Color32 {
    match theme {
        Theme::Dark => Color32::from_rgb(0xFF, 0x7B, 0x72),
        Theme::Light => Color32::from_rgb(0xB3, 0x1D, 0x1D),
    }
}

/// A part of a whole; what is no number is none of it.
pub(crate) fn within_one(part: f32) -> f32 {
    if part > 0.0 { part.min(1.0) } else { 0.0 }
}

/// A colour of which only a part of the light is laid over what is below. Its channels are those
/// that the shader of panels takes: light that is multiplied by the opacity, as sRGB.
pub(crate) fn veil(colour: Color32, part: f32) -> Color32 {
    let part = within_one(part);
    let [r, g, b, a] = colour.to_array();
    let [r, g, b] =
        [r, g, b].map(|byte| gamma_u8_from_linear_f32(linear_f32_from_gamma_u8(byte) * part));
    Color32::from_rgba_premultiplied(r, g, b, (f32::from(a) * part).round() as u8)
}

/// The line around a panel, a district.
pub fn hairline(theme: Theme) -> Stroke {
    Stroke::new(1.0, veil(faint(theme), if theme == Theme::Dark { 0.1 } else { 0.25 }))
}

/// What lies behind text that is as likely, or as large, as a part says: the most is as strong as
/// the text on it allows.
pub(crate) fn tint(theme: Theme, part: f32) -> Color32 {
    match theme {
        Theme::Dark => veil(accent(theme), 0.01 + 0.15 * within_one(part)),
        Theme::Light => veil(Color32::from_rgb(0xF0, 0xB4, 0x3C), 0.05 + 0.8 * within_one(part)),
    }
}

/// The frame of the small panels around the map.
pub fn card(theme: Theme) -> egui::Frame {
    egui::Frame::new()
        .fill(solid(theme))
        .stroke(hairline(theme))
        .corner_radius(6.0)
        .inner_margin(egui::Margin::symmetric(10, 5))
}

pub(super) fn set_style(
    mut contexts: EguiContexts,
    settings: Res<Settings>,
    keys: Res<KeyBindings>,
    mut shown: Local<Option<Theme>>,
) -> Result {
    let context = contexts.ctx_mut()?;
    if keys.is_changed() {
        keep_keys(context, &keys);
    }
    let theme = settings.theme;
    if *shown == Some(theme) {
        return Ok(());
    }
    *shown = Some(theme);
    let mut visuals = if theme == Theme::Dark { Visuals::dark() } else { Visuals::light() };
    visuals.panel_fill = solid(theme);
    visuals.window_fill = solid(theme);
    visuals.window_stroke = hairline(theme);
    visuals.override_text_color = Some(ink(theme));
    visuals.weak_text_color = Some(faint(theme));
    visuals.extreme_bg_color = backing(theme);
    // A shadow is a blur over many pixels, each of which a software adapter fills.
    visuals.window_shadow = egui::Shadow::NONE;
    visuals.popup_shadow = egui::Shadow::NONE;
    // Dark letters that are mixed in linear light come out thin.
    visuals.text_options.color_transfer_function =
        Visuals::dark().text_options.color_transfer_function;
    context.set_visuals(visuals);
    // Panels are there at once: while they fade in, they cannot be read, and every frame of it is
    // drawn.
    context.all_styles_mut(|style| style.animation_time = 0.0);
    // Control with + and - is ours, for the map and its names too; egui's own zoom on top of it
    // made the panels miss the screen's edges.
    context.options_mut(|options| options.zoom_with_keyboard = false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the shader adds to a pixel, and how much of what is below it leaves.
    fn mixed(colour: Color32) -> ([f32; 3], f32) {
        let [r, g, b, a] = colour.to_array();
        ([r, g, b].map(linear_f32_from_gamma_u8), 1.0 - f32::from(a) / 255.0)
    }

    /// The ratio of two colours' light, as WCAG has it; the first may be seen through.
    fn contrast(text: Color32, above: Color32, below: Color32) -> f32 {
        let light = |[r, g, b]: [f32; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b;
        let (above, left) = mixed(above);
        let ground = light(above) + light(mixed(below).0) * left;
        let (text, ground) = (light(mixed(text).0) + 0.05, ground + 0.05);
        (text / ground).max(ground / text)
    }

    #[test]
    fn everything_that_is_written_is_read() {
        let none = Color32::TRANSPARENT;
        for theme in [Theme::Dark, Theme::Light] {
            for ground in [backing(theme), solid(theme)] {
                for text in [ink(theme), faint(theme), accent(theme), edited(theme), wrong(theme)] {
                    let found = contrast(text, none, ground);
                    assert!(found >= 4.5, "{theme:?}: {text:?} on {ground:?} has {found:.2}");
                }
                for part in [0.0, 0.5, 1.0] {
                    let found = contrast(ink(theme), tint(theme, part), ground);
                    assert!(found >= 4.5, "{theme:?}: ink on a tint of {part} has {found:.2}");
                }
            }
        }
    }

    #[test]
    fn half_a_veil_is_half_of_the_light() {
        let ([red, ..], left) = mixed(veil(Color32::WHITE, 0.5));
        assert!((red - 0.5).abs() < 0.01 && (left - 0.5).abs() < 0.01, "{red} {left}");
        assert_eq!(veil(Color32::WHITE, f32::NAN), Color32::TRANSPARENT);
    }
}
