//! The panel of the lab, what it draws on the map, and both answers side by side.

pub(super) mod experiment;
pub(super) mod marks;
pub(super) mod side_by_side;
