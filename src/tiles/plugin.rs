//! The plugin of the model's entities.

use bevy::prelude::*;

use super::factors::{self, Factors};

/// The model as entities.
///
/// Adds [`Factors`] and, in `PostUpdate`, set [`TilesSystems::Factors`], the system that writes
/// them. The entities come with [`super::spawn_model`]. Needs nothing, and no GPU.
pub struct TilesPlugin;

/// Where the systems of [`TilesPlugin`] are.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub enum TilesSystems {
    /// In `PostUpdate`: marks on heads and layers become [`Factors`]. Who marks in `PostUpdate`
    /// comes before it.
    Factors,
}

impl Plugin for TilesPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Factors>()
            .add_systems(PostUpdate, factors::gather.in_set(TilesSystems::Factors));
    }
}
