//! The instruments beside the map, of which one is shown at a time.

use bevy::prelude::Resource;

/// An instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum Instrument {
    /// What each layer would say.
    Lens,
    /// Where a head looked.
    Attention,
    /// Each layer's numbers.
    Layers,
    /// How long things take.
    Timings,
    /// What is kept between runs.
    Settings,
}

/// The instrument that is shown.
#[derive(Resource, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shown(pub Option<Instrument>);
