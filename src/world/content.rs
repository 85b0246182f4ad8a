//! What only the window shows: `*.keys.ron`, `*.palette.ron` and `*.tour.ron`.

use std::collections::BTreeMap;

use super::keys::{BoundKey, KEY_NAMES, KeyBindings, KeyNames};
use super::palette::{Palette, PaletteFile};
use crate::content::did_you_mean;
use crate::content::registry::Review;
use crate::content::{AssetError, Assets, DEFAULT_NAME};
use crate::world::tour::{Tour, TourStep};

/// Every palette, "ember and ice" first.
///
/// # Errors
/// The user's own folder is broken.
pub fn palettes(assets: &Assets) -> Result<Vec<Palette>, AssetError> {
    let mut files = assets.all::<PaletteFile>("palette")?;
    // Whose settings name none get the first, whatever mods bring.
    files.sort_by_key(|(name, _)| name != "ember");
    Ok(files.iter().map(|(_, file)| Palette::new(file)).collect())
}

/// Which keys do what.
///
/// # Errors
/// The user's own folder is broken.
pub fn keys(assets: &Assets) -> Result<KeyBindings, AssetError> {
    assets.content("keys", DEFAULT_NAME).map(KeyBindings::new)
}

/// The most steps of a tour.
const MAX_STEPS: usize = 2000;
/// The longest text that a tour says or asks, in bytes.
const MAX_TEXT: usize = 4000;

/// What is wrong with a list of keys that its type cannot say.
pub(crate) fn review_keys(keys: &KeyNames, review: &mut Review<'_>) {
    let mut taken = BTreeMap::new();
    for (action, names) in keys {
        for (at, name) in names.iter().enumerate() {
            let path = format!("{action:?}[{at}]");
            if BoundKey::named(name).is_none() {
                let bare = name.strip_prefix(BoundKey::CONTROL).unwrap_or(name);
                let meant = did_you_mean(bare, KEY_NAMES.iter().copied());
                review.wrong(
                    &path,
                    format!(
                        "no key is named {name:?}; names are those of places on a US keyboard, \
                         such as KeyA, Control+Minus or F1{meant}"
                    ),
                );
            } else if let Some(other) = taken.insert(name, action) {
                review.wrong(&path, format!("{name} does {other:?} already"));
            }
        }
    }
}

/// What is wrong with a palette that its type cannot say.
pub(crate) fn review_palette(palette: &PaletteFile, review: &mut Review<'_>) {
    for (path, message) in palette.problems() {
        review.wrong(&path, message);
    }
}

/// What is wrong with a tour that its type cannot say.
pub(crate) fn review_tour(tour: &Tour, review: &mut Review<'_>) {
    review.require(!tour.title.trim().is_empty(), "title", || {
        "expected a title, found an empty text".into()
    });
    let count = tour.steps.len();
    review.require((1..=MAX_STEPS).contains(&count), "steps", || {
        format!("expected 1 to {MAX_STEPS} of them, found {count}")
    });
    for (at, step) in tour.steps.iter().enumerate() {
        let path = format!("steps[{at}]");
        match step {
            // The name becomes that of a file in the folder for pictures, and of no other.
            TourStep::Screenshot(name) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
                let holds = (1..=64).contains(&name.len()) && name.chars().all(plain);
                review.require(holds, &path, || {
                    format!(
                        "{name:?} is no name of a picture; expected 1 to 64 letters, digits, \
                         `-` and `_`"
                    )
                });
            }
            TourStep::Caption(text) | TourStep::Prompt { text, .. } => {
                review.require(text.len() <= MAX_TEXT, &path, || {
                    format!("expected at most {MAX_TEXT} bytes of text, found {}", text.len())
                });
            }
            TourStep::Wait(seconds) => {
                // A range holds no NaN, which RON can write.
                review.require((0.0..=600.0).contains(seconds), &path, || {
                    format!("expected 0 to 600 seconds, found {seconds}")
                });
            }
            TourStep::Look { seconds: Some(seconds), .. } => {
                review.require((0.0..=600.0).contains(seconds), &path, || {
                    format!("expected 0 to 600 seconds, found {seconds}")
                });
            }
            TourStep::Zoom { scale, .. } => {
                let holds = scale.is_finite() && *scale > 0.0;
                review.require(holds, &path, || format!("expected a scale above 0, found {scale}"));
            }
            _ => {}
        }
    }
}
