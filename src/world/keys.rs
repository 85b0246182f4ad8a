//! Which key does what: `*.keys.ron`, of which the window uses the one called `default`.

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
    /// Mutes all but the selected head of its layer, or all but the selected layer; or lets them
    /// speak again.
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
    /// Shows or hides the coach.
    Coach,
    /// Lets the agents stand still, or go on.
    PauseAgents,
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
    /// Shows or hides the experiments.
    Experiments,
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
            Self::Coach => "the coach and its tasks",
            Self::PauseAgents => "stop the agents or let them go on",
            Self::Experiment => "paint, mute and compare",
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
            Self::Experiments => "experiments of mods",
        }
    }
}

/// The keys of each action by their names, as they are written in a file.
pub type KeyNames = BTreeMap<Action, Vec<String>>;

/// Which keys do what.
#[derive(Resource, Debug, Clone)]
pub struct Keys {
    bindings: BTreeMap<Action, Vec<(String, KeyCode)>>,
}

impl Keys {
    /// Bindings by name. Names of no key are passed over; the schema of `*.keys.ron` has none.
    pub fn new(names: KeyNames) -> Self {
        let codes = |names: Vec<String>| -> Vec<(String, KeyCode)> {
            names.into_iter().filter_map(|name| key_code(&name).map(|code| (name, code))).collect()
        };
        Self { bindings: names.into_iter().map(|(action, names)| (action, codes(names))).collect() }
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

macro_rules! keys {
    ($($key:ident)*) => {
        /// The names of all keys that can be bound.
        pub const KEY_NAMES: &[&str] = &[$(stringify!($key)),*];

        /// The key of a name.
        pub fn key_code(name: &str) -> Option<KeyCode> {
            match name { $(stringify!($key) => Some(KeyCode::$key),)* _ => None }
        }
    };
}
keys!(KeyA KeyB KeyC KeyD KeyE KeyF KeyG KeyH KeyI KeyJ KeyK KeyL KeyM KeyN KeyO KeyP KeyQ KeyR KeyS KeyT KeyU KeyV
    KeyW KeyX KeyY KeyZ Digit0 Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 ArrowLeft ArrowRight
    ArrowUp ArrowDown Home End PageUp PageDown Space Enter Backspace Delete Insert Tab Slash Backslash BracketLeft
    BracketRight Minus Equal Comma Period Semicolon Quote Backquote F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12
    NumpadAdd NumpadSubtract NumpadEnter);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_keys_are_there_and_none_does_two_things() {
        let keys = crate::world::content::keys(&crate::app::kinds::assets()).unwrap();
        let mut codes: Vec<KeyCode> =
            keys.bindings.values().flatten().map(|&(_, code)| code).collect();
        let count = codes.len();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert_eq!(keys.list().count(), 37, "every action has a key");
    }
}
