//! Charts of what the model thinks and how long it takes: on the map as light and beams, and in the
//! drawer.

pub(super) mod activity;
pub(super) mod attention;
pub(super) mod beams;
pub(super) mod borders;
pub(super) mod changed;
pub(super) mod family;
pub(super) mod gradient;
pub(super) mod heatmap;
pub(super) mod layers;
pub(super) mod lens;
pub(super) mod light;
pub(super) mod river;
pub mod streaming;
pub(super) mod timings;
pub(super) mod update;
