//! What controls say of themselves: in words, and with the key that does the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use bevy_egui::egui;
use egui::{Id, Response, Ui, Widget};

use crate::world::keys::{KeyBindings, UserAction};

/// The first key of each action: egui keeps them, so that a control deep in a panel can say its
/// own.
type KeysByAction = Arc<BTreeMap<UserAction, String>>;

/// Where egui keeps them.
fn place() -> Id {
    Id::new("keys of actions")
}

/// Lets controls know the keys.
pub(super) fn keep_keys(context: &egui::Context, keys: &KeyBindings) {
    let keys = keys.list().filter_map(|(action, _)| Some((action, keys.of(action)?)));
    let keys: KeysByAction = Arc::new(keys.collect());
    context.data_mut(|data| data.insert_temp(place(), keys));
}

/// Words, with the key of an action if it has one.
pub(crate) fn with_key(context: &egui::Context, words: &str, action: UserAction) -> String {
    let keys: Option<KeysByAction> = context.data(|data| data.get_temp(place()));
    match keys.as_ref().and_then(|keys| keys.get(&action)) {
        Some(key) => format!("{words} ({key})"),
        None => words.to_owned(),
    }
}

/// A control that says what it does when it is pointed at, whether or not it can be used now.
pub(crate) trait Explained {
    /// Says it in words.
    fn explained(self, words: impl Into<String>) -> Response;
}

impl Explained for Response {
    fn explained(self, words: impl Into<String>) -> Response {
        let words = words.into();
        self.on_hover_text(words.clone()).on_disabled_hover_text(words)
    }
}

/// Adds a control that can be used now, or cannot; whether it was clicked.
pub(crate) fn clicked(
    ui: &mut Ui,
    is_enabled: bool,
    control: impl Widget,
    words: impl Into<String>,
) -> bool {
    ui.add_enabled(is_enabled, control).explained(words).clicked()
}

/// Adds a button that does what an action's key does, which stands on it; whether it was clicked.
pub(crate) fn key_button(
    ui: &mut Ui,
    (is_enabled, is_on): (bool, bool),
    (name, words): (&str, &str),
    action: UserAction,
) -> bool {
    let text = with_key(ui.ctx(), name, action);
    clicked(ui, is_enabled, egui::Button::new(text).selected(is_on), words)
}
