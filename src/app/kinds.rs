//! The list of all kinds of content of this program: the only place that knows them all.
//!
//! A build without the window has no types for palettes, tours and keys. It takes them as they are,
//! as long as they are RON, so that mods with them load; `mods check` of the whole program is the
//! one that counts.

use std::sync::Arc;

use crate::agents::AgentProfile;
use crate::agents::content::review_agent;
use crate::coach::content::{review_plan, review_reviewer};
use crate::coach::reviewer::Reviewer;
use crate::content::model::ModelFile;
use crate::content::{Assets, Kind, Registry, review_world};
use crate::experiment::Experiment;
#[cfg(feature = "world")]
use crate::world::content as window;

/// The built-in content of every kind, without mods and without a folder of the user's.
pub fn assets() -> Assets {
    Assets::new(Arc::new(registry()))
}

/// All kinds.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register(
        Kind::new("agent", include_str!("../content/examples/agent.ron"), review_agent)
            .with_unique::<AgentProfile>("name", |profile| &profile.name),
    );
    registry.register(Kind::new(
        "experiment",
        include_str!("../content/examples/experiment.ron"),
        Experiment::review,
    ));
    registry.register(Kind::new(
        "model",
        include_str!("../content/examples/model.ron"),
        ModelFile::review,
    ));
    registry.register(Kind::new("plan", include_str!("../content/examples/plan.ron"), review_plan));
    registry.register(
        Kind::new("reviewer", include_str!("../content/examples/reviewer.ron"), review_reviewer)
            .with_commands::<Reviewer>(|reviewer| vec![reviewer.command_line()]),
    );
    registry.register(Kind::new(
        "world",
        include_str!("../content/examples/world.ron"),
        review_world,
    ));
    let (keys, palette, tour) = (
        include_str!("../content/examples/keys.ron"),
        include_str!("../content/examples/palette.ron"),
        include_str!("../content/examples/tour.ron"),
    );
    #[cfg(feature = "world")]
    {
        use crate::world::palette::PaletteFile;
        registry.register(Kind::new("keys", keys, window::review_keys));
        registry.register(
            Kind::new("palette", palette, window::review_palette)
                .with_unique::<PaletteFile>("name", PaletteFile::name),
        );
        registry.register(Kind::new("tour", tour, window::review_tour));
    }
    #[cfg(not(feature = "world"))]
    for (name, example) in [("keys", keys), ("palette", palette), ("tour", tour)] {
        registry.register(Kind::unread(name, example));
    }
    registry
}
