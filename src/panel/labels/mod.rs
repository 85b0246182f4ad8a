//! Text on the map: names, numbers, and where there is room for them.

pub(super) mod map_text;
pub(super) mod placement;
pub(super) mod token_mark;
pub(super) mod values;
