//! The frame around the map: what is going on, where one is, the legend, the drawer of instruments, search and help.

pub(super) mod chrome;
pub(super) mod drawer;
pub(super) mod egui_recovery;
pub(super) mod help;
pub(super) mod opening;
pub(super) mod search_box;
