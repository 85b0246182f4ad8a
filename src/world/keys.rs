//! Which key does what: `*.keys.ron`, of which the window uses the one called `default`.

use std::collections::{BTreeMap, BTreeSet};

use bevy::input::ButtonState;
use bevy::input::keyboard::{KeyboardFocusLost, KeyboardInput};
use bevy::prelude::*;
use bevy_egui::input::EguiWantsInput;
use serde::Deserialize;

/// What a person asks for by a key, or by the button that does the same: a message, which the
/// plugin that owns the thing answers in [`WorldSystems::Act`](super::WorldSystems).
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum UserAction {
    /// Moves the map's camera west.
    PanLeft,
    /// Moves the map's camera east.
    PanRight,
    /// Moves the map's camera north.
    PanUp,
    /// Moves the map's camera south.
    PanDown,
    /// Zooms in, to the pointer.
    ZoomIn,
    /// Zooms out, from the pointer.
    ZoomOut,
    /// Goes to the whole model.
    Home,
    /// Goes to the view before.
    Back,
    /// Goes to the view that was left by going back.
    Forward,
    /// Shows weights, bytes or the error, in turn.
    NextColouring,
    /// Colours by the next palette.
    NextPalette,
    /// Goes from light to dark, or back.
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
    /// Makes again the change that was taken back last.
    Redo,
    /// Keeps this view as a bookmark.
    Bookmark,
    /// To the next view that was kept.
    NextBookmark,
    /// To the search box.
    Search,
    /// Goes to the prompt, to type.
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
    /// Takes one token further, and pauses.
    Step,
    /// Answers the prompt again, as the model is now.
    AnswerAgain,
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
    /// Shows or hides what the model learns.
    Learning,
    /// Shows or hides the settings.
    Settings,
    /// Begins the introductory tour, or ends it.
    TakeTour,
    /// Shows or hides the experiments.
    Experiments,
    /// Makes text and panels larger.
    LargerText,
    /// Makes them smaller.
    SmallerText,
    /// Makes them as large as the screen asks for.
    UsualText,
    /// Closes what was opened last, ends the tour, or lets go of what is selected.
    Close,
}

impl UserAction {
    /// Whether it goes on while its key is down.
    fn is_continuous(self) -> bool {
        use UserAction::{PanDown, PanLeft, PanRight, PanUp, ZoomIn, ZoomOut};
        matches!(self, PanLeft | PanRight | PanUp | PanDown | ZoomIn | ZoomOut)
    }

    /// Whether it is among those that were not read yet; all of them are read then.
    pub(crate) fn is_among(self, actions: &mut MessageReader<'_, '_, Self>) -> bool {
        // `any` would stop at the first, and leave the others for the next frame.
        actions.read().filter(|&&action| action == self).count() > 0
    }

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
            Self::Search => "search places, tokens and words",
            Self::Prompt => "prompt",
            Self::Inspector => "inspector",
            Self::Coach => "the coach and its tasks",
            Self::PauseAgents => "stop the agents or let them go on",
            Self::Experiment => "paint, mute and compare",
            Self::Help => "this help",
            Self::Pause => "pause or go on",
            Self::Step => "one token further",
            Self::AnswerAgain => "answer again",
            Self::Earlier => "look at the token before",
            Self::Later => "look at the token after",
            Self::Lens => "logit lens",
            Self::Attention => "attention",
            Self::Layers => "layers in numbers",
            Self::Timings => "timings",
            Self::Learning => "learning, and adapters",
            Self::Settings => "settings",
            Self::TakeTour => "take the tour, or leave it",
            Self::Experiments => "experiments of mods",
            Self::LargerText => "larger text",
            Self::SmallerText => "smaller text",
            Self::UsualText => "text as the screen asks for",
            Self::Close => "close what is on top",
        }
    }
}

/// Lets a system run when somebody asks for an action.
pub(crate) fn on_action(
    action: UserAction,
) -> impl FnMut(MessageReader<UserAction>) -> bool + Clone {
    move |mut actions: MessageReader<UserAction>| action.is_among(&mut actions)
}

/// The keys of each action by their names, as they are written in a file.
pub(crate) type KeyNames = BTreeMap<UserAction, Vec<String>>;

/// Which keys do what.
#[derive(Resource, Debug, Clone)]
pub struct KeyBindings {
    bindings: BTreeMap<UserAction, Vec<(String, BoundKey)>>,
}

/// A key, and whether it counts with Control held or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BoundKey {
    code: KeyCode,
    control: bool,
}

impl BoundKey {
    /// What stands before the name of a key that counts with Control held.
    pub const CONTROL: &str = "Control+";

    /// The key of a name such as `KeyA` or `Control+Minus`.
    pub fn named(name: &str) -> Option<Self> {
        let held = name.strip_prefix(Self::CONTROL);
        Some(Self { code: key_code(held.unwrap_or(name))?, control: held.is_some() })
    }
}

impl KeyBindings {
    /// Bindings by name. Names of no key are passed over; the schema of `*.keys.ron` has none.
    pub fn new(names: KeyNames) -> Self {
        let keys = |names: Vec<String>| -> Vec<(String, BoundKey)> {
            names
                .into_iter()
                .filter_map(|name| BoundKey::named(&name).map(|key| (name, key)))
                .collect()
        };
        Self { bindings: names.into_iter().map(|(action, names)| (action, keys(names))).collect() }
    }

    /// The actions of a key that goes down while others are held.
    fn asked(
        &self,
        code: KeyCode,
        held: &ButtonInput<KeyCode>,
    ) -> impl Iterator<Item = UserAction> {
        let key = BoundKey { code, control: is_control_held(held) };
        let has = move |keys: &[(String, BoundKey)]| keys.iter().any(|&(_, of)| of == key);
        self.bindings.iter().filter_map(move |(&action, keys)| has(keys).then_some(action))
    }

    /// The actions that go on while their keys are held.
    fn going_on(&self, held: &ButtonInput<KeyCode>) -> impl Iterator<Item = UserAction> {
        held.get_pressed()
            .flat_map(|&code| self.asked(code, held))
            .filter(|action| action.is_continuous())
    }

    /// The first key of an action, by its name as people know it.
    pub fn of(&self, action: UserAction) -> Option<String> {
        self.bindings.get(&action)?.first().map(|(name, _)| plain(name))
    }

    /// Every action that has keys, and their names as people know them.
    pub fn list(&self) -> impl Iterator<Item = (UserAction, String)> + '_ {
        self.bindings.iter().map(|(&action, keys)| {
            let names: Vec<String> = keys.iter().map(|(name, _)| plain(name)).collect();
            (action, names.join(", "))
        })
    }
}

/// Whether Control is held, or the key of a Mac's keyboard that is used like it.
fn is_control_held(held: &ButtonInput<KeyCode>) -> bool {
    use KeyCode::{ControlLeft, ControlRight, SuperLeft, SuperRight};
    held.any_pressed([ControlLeft, ControlRight, SuperLeft, SuperRight])
}

/// Tells what is asked for by keys, unless something is typed into a panel.
///
/// Keys are followed one by one: within a frame of 100 ms Control goes down, a key with it, and
/// both are up again before anybody looks at what is held.
pub(super) fn read_keyboard(
    keys: Res<KeyBindings>,
    mut strokes: MessageReader<KeyboardInput>,
    mut lost: MessageReader<KeyboardFocusLost>,
    mut held: Local<ButtonInput<KeyCode>>,
    wants: Option<Res<EguiWantsInput>>,
    mut actions: MessageWriter<UserAction>,
) {
    let mut asked = BTreeSet::new();
    for stroke in strokes.read() {
        match stroke.state {
            ButtonState::Pressed => {
                held.press(stroke.key_code);
                if !stroke.repeat {
                    asked.extend(keys.asked(stroke.key_code, &held));
                }
            }
            ButtonState::Released => held.release(stroke.key_code),
        }
    }
    // What is let go elsewhere is not told here.
    if lost.read().count() > 0 {
        held.reset_all();
    }
    asked.extend(keys.going_on(&held));
    if !wants.is_some_and(|wants| wants.wants_any_keyboard_input()) {
        actions.write_batch(asked);
    }
}

/// What stands on a key.
fn plain(name: &str) -> String {
    if let Some(key) = name.strip_prefix(BoundKey::CONTROL) {
        return format!("Ctrl {}", plain(key));
    }
    let sign = match name {
        "BracketLeft" => "[",
        "BracketRight" => "]",
        "Slash" => "/",
        "Minus" => "-",
        "Equal" => "=",
        other => other.strip_prefix("Key").or_else(|| other.strip_prefix("Digit")).unwrap_or(other),
    };
    sign.to_owned()
}

// One list for names and keys: none has a name that cannot be read back.
macro_rules! keys {
    ($($key:ident)*) => {
        /// The names of all keys that can be bound.
        pub(crate) const KEY_NAMES: &[&str] = &[$(stringify!($key)),*];

        /// The key of a name.
        pub(crate) fn key_code(name: &str) -> Option<KeyCode> {
            match name { $(stringify!($key) => Some(KeyCode::$key),)* _ => None }
        }
    };
}
keys!(
    KeyA KeyB KeyC KeyD KeyE KeyF KeyG KeyH KeyI KeyJ KeyK KeyL KeyM KeyN KeyO KeyP KeyQ KeyR
    KeyS KeyT KeyU KeyV KeyW KeyX KeyY KeyZ Digit0 Digit1 Digit2 Digit3 Digit4 Digit5 Digit6
    Digit7 Digit8 Digit9 ArrowLeft ArrowRight ArrowUp ArrowDown Home End PageUp PageDown Space
    Enter Escape Backspace Delete Insert Tab Slash Backslash BracketLeft BracketRight Minus Equal
    Comma Period Semicolon Quote Backquote F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12 NumpadAdd
    NumpadSubtract NumpadEnter
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_keys_are_there_and_none_does_two_things() {
        let keys = crate::world::content::keys(&crate::app::kinds::assets()).unwrap();
        let mut codes: Vec<BoundKey> =
            keys.bindings.values().flatten().map(|&(_, key)| key).collect();
        let count = codes.len();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert_eq!(keys.list().count(), 43, "every action has a key");
    }
    #[test]
    fn a_key_with_control_is_another_key() {
        let keys = crate::world::content::keys(&crate::app::kinds::assets()).unwrap();
        let mut held = ButtonInput::default();
        let asked = |held: &_| keys.asked(KeyCode::Equal, held).collect::<Vec<_>>();
        assert_eq!(asked(&held), [UserAction::ZoomIn]);
        held.press(KeyCode::ControlLeft);
        assert_eq!(asked(&held), [UserAction::LargerText]);
        assert!(keys.list().any(|(_, names)| names.starts_with("Ctrl =")));
    }

    /// What is asked for by keys that go down (true) or up within one frame.
    fn asked_in_a_frame(world: &mut World, strokes: &[(KeyCode, bool)]) -> Vec<UserAction> {
        for &(key_code, is_down) in strokes {
            world.write_message(KeyboardInput {
                key_code,
                logical_key: bevy::input::keyboard::Key::Dead(None),
                state: if is_down { ButtonState::Pressed } else { ButtonState::Released },
                text: None,
                repeat: false,
                window: Entity::PLACEHOLDER,
            });
        }
        world.run_system_cached(read_keyboard).unwrap();
        world.resource_mut::<Messages<UserAction>>().drain().collect()
    }

    #[test]
    fn a_chord_within_one_frame_counts_and_what_is_held_goes_on() {
        use KeyCode::{ControlLeft, Equal, KeyD};
        let mut world = World::new();
        world.init_resource::<Messages<KeyboardInput>>();
        world.init_resource::<Messages<KeyboardFocusLost>>();
        world.init_resource::<Messages<UserAction>>();
        world.insert_resource(crate::world::content::keys(&crate::app::kinds::assets()).unwrap());
        let chord = [(ControlLeft, true), (Equal, true), (Equal, false), (ControlLeft, false)];
        assert_eq!(asked_in_a_frame(&mut world, &chord), [UserAction::LargerText]);
        let plain = [(Equal, true), (Equal, false), (KeyD, true)];
        let both = [UserAction::PanRight, UserAction::ZoomIn];
        assert_eq!(asked_in_a_frame(&mut world, &plain), both);
        assert_eq!(asked_in_a_frame(&mut world, &[]), both[..1]);
        world.write_message(KeyboardFocusLost);
        assert_eq!(asked_in_a_frame(&mut world, &[]), []);
    }
}
