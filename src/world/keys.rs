//! Which key does what: `assets/keys.ron`, which a folder given with `--assets` may replace.

use std::collections::BTreeMap;

use bevy::prelude::{ButtonInput, KeyCode, Resource};
use serde::Deserialize;

/// What a key can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Action {
    /// Moves the map's camera west.
    PanLeft,
    /// East.
    PanRight,
    /// North.
    PanUp,
    /// South.
    PanDown,
    /// Nearer.
    ZoomIn,
    /// Farther.
    ZoomOut,
    /// The whole model.
    Home,
    /// The view before.
    Back,
    /// The view after.
    Forward,
    /// Weights, bytes, error.
    NextColouring,
    /// The next palette.
    NextPalette,
    /// Light or dark.
    NextTheme,
    /// Mutes the head or layer that is selected, or lets it speak again.
    Mute,
    /// Mutes all but the selected head of its layer, or all but the selected layer; or lets them speak again.
    Solo,
    /// A drag marks weights to be painted, or moves the map again.
    Paint,
    /// Takes back the last change of weights.
    Undo,
    /// Does it again.
    Redo,
    /// Keeps this view.
    Bookmark,
    /// To the next view that was kept.
    NextBookmark,
    /// To the search box.
    Search,
    /// To the prompt.
    Prompt,
    /// Shows or hides the inspector.
    Inspector,
    /// Shows or hides the experiment panel.
    Experiment,
    /// Shows or hides this list.
    Help,
    /// Pauses the answer, or lets it go on.
    Pause,
    /// One token further.
    Step,
    /// Looks at the token before.
    Earlier,
    /// Looks at the token after.
    Later,
    /// Shows or hides the logit lens.
    Lens,
    /// Shows or hides a head's attention.
    Attention,
    /// Shows or hides the layers' numbers.
    Layers,
    /// Shows or hides how long things take.
    Timings,
    /// Shows or hides the settings.
    Settings,
    /// Begins the introductory tour, or ends it.
    TakeTour,
}

impl Action {
    /// In words, for the help overlay.
    pub fn name(self) -> &'static str {
        match self {
            Self::PanLeft => "west",
            Self::PanRight => "east",
            Self::PanUp => "north",
            Self::PanDown => "south",
            Self::ZoomIn => "nearer",
            Self::ZoomOut => "farther",
            Self::Home => "the whole model",
            Self::Back => "back",
            Self::Forward => "forward",
            Self::NextColouring => "weights, raw bytes, rounding error",
            Self::NextPalette => "next palette",
            Self::NextTheme => "light or dark",
            Self::Mute => "mute what is selected",
            Self::Solo => "hear what is selected alone",
            Self::Paint => "mark weights to paint",
            Self::Undo => "take back a change of weights",
            Self::Redo => "do it again",
            Self::Bookmark => "bookmark this view",
            Self::NextBookmark => "next bookmark",
            Self::Search => "search",
            Self::Prompt => "prompt",
            Self::Inspector => "inspector",
            Self::Experiment => "experiment",
            Self::Help => "this help",
            Self::Pause => "pause or go on",
            Self::Step => "one token further",
            Self::Earlier => "look at the token before",
            Self::Later => "look at the token after",
            Self::Lens => "logit lens",
            Self::Attention => "attention",
            Self::Layers => "layers in numbers",
            Self::Timings => "timings",
            Self::Settings => "settings",
            Self::TakeTour => "take the tour, or leave it",
        }
    }
}

/// Why key bindings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file is not what the schema says.
    #[error("keys.ron: {0}")]
    Ron(Box<ron::error::SpannedError>),
    /// No key has this name.
    #[error(
        "keys.ron: {action:?}: no key is named {key:?}; names are those of places on a US keyboard, such as KeyA, ArrowUp or F1"
    )]
    Key {
        /// What it was to do.
        action: Action,
        /// The name.
        key: String,
    },
}

/// Which keys do what.
#[derive(Resource, Debug, Clone)]
pub struct Keys {
    bindings: BTreeMap<Action, Vec<(String, KeyCode)>>,
}

impl Keys {
    /// The built-in bindings.
    pub const BUILT_IN: &str = include_str!("../../assets/keys.ron");

    /// Reads bindings.
    ///
    /// # Errors
    /// It is not what the schema says, or names a key that is not there.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let read: BTreeMap<Action, Vec<String>> =
            ron::from_str(text).map_err(|error| KeysError::Ron(Box::new(error)))?;
        let mut bindings = BTreeMap::new();
        for (action, names) in read {
            let code = |name: String| match key_code(&name) {
                Some(code) => Ok((name, code)),
                None => Err(KeysError::Key { action, key: name }),
            };
            bindings.insert(action, names.into_iter().map(code).collect::<Result<_, _>>()?);
        }
        Ok(Self { bindings })
    }

    fn codes(&self, action: Action) -> impl Iterator<Item = KeyCode> + '_ {
        self.bindings.get(&action).into_iter().flatten().map(|&(_, code)| code)
    }

    /// Whether one of an action's keys is down.
    pub fn held(&self, input: &ButtonInput<KeyCode>, action: Action) -> bool {
        self.codes(action).any(|code| input.pressed(code))
    }

    /// Whether one of an action's keys went down in this frame.
    pub fn pressed(&self, input: &ButtonInput<KeyCode>, action: Action) -> bool {
        self.codes(action).any(|code| input.just_pressed(code))
    }

    /// Every action that has keys, and their names as people know them.
    pub fn list(&self) -> impl Iterator<Item = (Action, String)> + '_ {
        self.bindings.iter().map(|(&action, keys)| {
            let names: Vec<&str> = keys.iter().map(|(name, _)| plain(name)).collect();
            (action, names.join(", "))
        })
    }
}

/// What stands on a key.
fn plain(name: &str) -> &str {
    match name {
        "BracketLeft" => "[",
        "BracketRight" => "]",
        "Slash" => "/",
        "Minus" => "-",
        "Equal" => "=",
        other => other.strip_prefix("Key").or_else(|| other.strip_prefix("Digit")).unwrap_or(other),
    }
}

fn key_code(name: &str) -> Option<KeyCode> {
    macro_rules! codes {
        ($($key:ident)*) => {
            match name { $(stringify!($key) => Some(KeyCode::$key),)* _ => None }
        };
    }
    codes!(KeyA KeyB KeyC KeyD KeyE KeyF KeyG KeyH KeyI KeyJ KeyK KeyL KeyM KeyN KeyO KeyP KeyQ KeyR KeyS KeyT KeyU KeyV
        KeyW KeyX KeyY KeyZ Digit0 Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 ArrowLeft ArrowRight
        ArrowUp ArrowDown Home End PageUp PageDown Space Enter Backspace Delete Insert Tab Slash Backslash BracketLeft
        BracketRight Minus Equal Comma Period Semicolon Quote Backquote F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12
        NumpadAdd NumpadSubtract NumpadEnter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_keys_are_there_and_none_does_two_things() {
        let keys = Keys::parse(Keys::BUILT_IN).unwrap();
        let mut codes: Vec<KeyCode> = keys.bindings.values().flatten().map(|&(_, code)| code).collect();
        let count = codes.len();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert_eq!(keys.list().count(), 34, "every action has a key");
    }

    #[test]
    fn a_key_or_action_that_is_not_there_is_named() {
        let error = Keys::parse("{Home: [\"KeyÄ\"]}").unwrap_err().to_string();
        assert!(error.contains("Home") && error.contains("KeyÄ"), "{error}");
        assert!(Keys::parse("{Fly: [\"KeyA\"]}").unwrap_err().to_string().contains("Fly"));
    }
}
