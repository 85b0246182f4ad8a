//! The kinds of content of this program, one file each: what a type cannot say of it.
//!
//! A build without the window has no types for palettes, tours and keys. It takes them as they are, as long as they are RON, so that mods
//! with them load; `mods check` of the whole program is the one that counts.

mod agents;
mod plan;
#[cfg(feature = "world")]
mod window;
mod world;

pub use world::{HOME, Land};

use super::experiment::Experiment;
use super::model::ModelFile;
use super::registry::{Kind, Registry};
use crate::agents::Profile;
use crate::coach::reviewer::Reviewer;

/// All kinds.
pub(super) fn register(registry: &mut Registry) {
    registry.register(
        Kind::new("agent", include_str!("../examples/agent.ron"), agents::review)
            .with_unique::<Profile>("name", |profile| &profile.name),
    );
    registry.register(Kind::new(
        "experiment",
        include_str!("../examples/experiment.ron"),
        Experiment::review,
    ));
    registry.register(Kind::new("model", include_str!("../examples/model.ron"), ModelFile::review));
    registry.register(Kind::new("plan", include_str!("../examples/plan.ron"), plan::review));
    registry.register(
        Kind::new("reviewer", include_str!("../examples/reviewer.ron"), agents::review_reviewer)
            .with_commands::<Reviewer>(|reviewer| vec![reviewer.command_line()]),
    );
    registry.register(Kind::new("world", include_str!("../examples/world.ron"), world::review));
    let (keys, palette, tour) = (
        include_str!("../examples/keys.ron"),
        include_str!("../examples/palette.ron"),
        include_str!("../examples/tour.ron"),
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
}
