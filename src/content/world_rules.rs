//! `*.world.ron`: how the land is laid out.

use serde::Deserialize;

use crate::content::registry::Review;
use crate::model::plan::rules::{Arrangement, Bank, Decoration, Districts, Rules, Spacing};

/// The name of the world that the window shows.
pub const DEFAULT_NAME: &str = "default";

/// A world as it is written in its file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldRules {
    /// What people call it.
    pub name: String,
    /// What it is like.
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    layers: Arrangement,
    #[serde(default)]
    heads: Bank,
    #[serde(default)]
    spacing: Spacing,
    #[serde(default)]
    districts: Districts,
    #[serde(default)]
    decorations: Vec<Decoration>,
}

impl WorldRules {
    /// The rules that the map is laid out by.
    pub fn rules(self) -> Rules {
        let Self { layers, heads, spacing, districts, decorations, .. } = self;
        Rules { layers, heads, spacing, districts, decorations }
    }
}

/// What is wrong with a world that its type cannot say.
pub fn review_world(land: &WorldRules, review: &mut Review<'_>) {
    review.require(!land.name.trim().is_empty(), "name", || {
        "expected a name, found an empty text".into()
    });
    for (path, message) in land.clone().rules().problems() {
        review.wrong(&path, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::model::plan::Rules;

    #[test]
    fn the_built_in_world_is_the_map_of_the_specification() {
        assert_eq!(crate::app::kinds::assets().rules().unwrap(), Rules::default());
    }
}
