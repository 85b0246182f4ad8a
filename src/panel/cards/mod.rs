//! Cards: the prompt, what is selected, bookmarks, settings, and what a person is told at the start
//! or of mods.

pub(super) mod answer;
pub(super) mod bookmarks;
pub(super) mod inspector;
pub(super) mod mods;
pub(super) mod prompt;
pub(super) mod settings;
pub(super) mod welcome;
