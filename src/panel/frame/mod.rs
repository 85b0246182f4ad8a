//! The frame around the map: where one is, the legend, what is told, the drawer, search and keys.

pub(super) mod chrome;
pub(super) mod drawer;
pub(super) mod egui_recovery;
pub(super) mod help;
pub(super) mod search_box;
pub(super) mod told;
