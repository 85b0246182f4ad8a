//! How large text and panels are: as the screen asks for, or as somebody has chosen.
//!
//! The window's scale factor is changed, so that the map, its labels, the panels and the pointer
//! are all measured in the same points.

use bevy::prelude::*;
use bevy::window::{PrimaryWindow, WindowScaleFactorChanged};

use super::keys::UserAction;
use super::notices::Notices;
use super::settings::Settings;

/// The steps of the keys; where 1 is, a point is a pixel of a screen of the usual density.
pub(crate) const STEPS: [f32; 7] = [0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5];
/// Points of height that a screen is given by itself: 720 lines have text of its own size, 1440
/// lines have it half as large again, where it would be 11 pixels and is read from the same seat.
const USUAL_HEIGHT: f32 = 960.0;
/// Text is never made so large by itself that less than this is left of the screen's height.
const LEAST_HEIGHT: f32 = 640.0;

/// How much larger than usual text is by itself on a screen of so many points.
pub(crate) fn of_screen(height: f32) -> f32 {
    let fits = |step: &&f32| **step <= height / USUAL_HEIGHT && height / **step >= LEAST_HEIGHT;
    STEPS.iter().filter(|step| **step >= 1.0).rev().find(fits).copied().unwrap_or(1.0)
}

/// How much larger than usual text is on a screen of so many points: what was chosen, or what the
/// screen asks for.
pub fn chosen(settings: &Settings, height: f32) -> f32 {
    let chosen = settings.text_scale;
    // The file may be written by hand.
    if chosen > 0.0 { chosen.clamp(STEPS[0], STEPS[STEPS.len() - 1]) } else { of_screen(height) }
}

/// The window's height in points as its display has it.
fn height(window: &Window) -> f32 {
    window.resolution.physical_height() as f32 / window.resolution.base_scale_factor()
}

/// Makes text larger, smaller, or as the screen asks for.
pub(super) fn act(
    mut actions: MessageReader<UserAction>,
    windows: Query<&Window, With<PrimaryWindow>>,
    mut settings: ResMut<Settings>,
    mut notices: ResMut<Notices>,
) {
    for action in actions.read() {
        let now = chosen(&settings, windows.single().map_or(0.0, height));
        let next = match action {
            UserAction::LargerText => STEPS.into_iter().find(|&step| step > now).unwrap_or(now),
            UserAction::SmallerText => {
                STEPS.into_iter().rev().find(|&step| step < now).unwrap_or(now)
            }
            UserAction::UsualText => 0.0,
            _ => continue,
        };
        settings.text_scale = next;
        notices.tell(match next {
            0.0 => "text as the screen asks for".to_owned(),
            next => format!("text at {:.0} %", next * 100.0),
        });
    }
}

/// Gives the window the factor.
pub(super) fn apply(
    settings: Res<Settings>,
    mut windows: Query<(Entity, &mut Window), With<PrimaryWindow>>,
    mut changed: MessageWriter<WindowScaleFactorChanged>,
) {
    let Ok((entity, mut window)) = windows.single_mut() else { return };
    let factor = window.resolution.base_scale_factor() * chosen(&settings, height(&window));
    if window.resolution.scale_factor() != factor {
        window.resolution.set_scale_factor_override(Some(factor));
        // Cameras look at a window's factor only when they are told.
        changed.write(WindowScaleFactorChanged { window: entity, scale_factor: f64::from(factor) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_follows_the_screen_unless_somebody_has_chosen() {
        let usual = Settings::default();
        let at = |height: f32| chosen(&usual, height);
        assert_eq!([at(600.0), at(720.0), at(1080.0), at(1440.0)], [1.0, 1.0, 1.0, 1.5]);
        assert_eq!([at(2160.0), at(9999.0)], [2.0, 2.5]);
        let chosen_by_hand = Settings { text_scale: 99.0, ..Settings::default() };
        assert_eq!(chosen(&chosen_by_hand, 720.0), 2.5);
    }
}
