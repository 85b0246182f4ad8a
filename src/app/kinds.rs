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
use crate::lineage::Gate;
use crate::school::Subject;
use crate::training::corpus::Corpus;
#[cfg(feature = "world")]
use crate::world::content as window;

/// The built-in content of every kind, without mods and without a folder of the user's.
pub fn assets() -> Assets {
    Assets::new(Arc::new(registry()))
}

/// What is said of a content for people to read.
const DESCRIPTION: (&str, &str) = ("about", "description");

/// Every kind by its name, with its example and the review of its files.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register(
        Kind::new("agent", include_str!("../content/examples/agent.ron"), review_agent)
            .with_unique::<AgentProfile>("name", |profile| &profile.name)
            // Here and below: words of earlier versions, which mods may still have.
            .with_renamed(&[("metabolism", "energy_rates")]),
    );
    let corpus = include_str!("../content/examples/corpus.ron");
    registry.register(Kind::new("corpus", corpus, Corpus::review));
    let experiment = include_str!("../content/examples/experiment.ron");
    registry.register(
        Kind::new("experiment", experiment, Experiment::review).with_renamed(&[DESCRIPTION]),
    );
    let gate = include_str!("../content/examples/gate.ron");
    registry.register(Kind::new("gate", gate, Gate::review));
    let model = include_str!("../content/examples/model.ron");
    registry.register(Kind::new("model", model, ModelFile::review));
    registry.register(
        Kind::new("plan", include_str!("../content/examples/plan.ron"), review_plan)
            .with_renamed(&[("figure", "metric"), ("line", "command")]),
    );
    registry.register(
        Kind::new("reviewer", include_str!("../content/examples/reviewer.ron"), review_reviewer)
            .with_commands::<Reviewer>(|reviewer| vec![reviewer.command_line()])
            .with_renamed(&[("line", "command")]),
    );
    let subject = include_str!("../content/examples/subject.ron");
    registry.register(Kind::new("subject", subject, Subject::review));
    let world = include_str!("../content/examples/world.ron");
    registry.register(Kind::new("world", world, review_world).with_renamed(&[DESCRIPTION]));
    window_kinds().into_iter().for_each(|kind| registry.register(kind));
    registry
}

/// What only the window shows.
fn window_kinds() -> [Kind; 3] {
    let (keys, palette, tour) = (
        include_str!("../content/examples/keys.ron"),
        include_str!("../content/examples/palette.ron"),
        include_str!("../content/examples/tour.ron"),
    );
    #[cfg(feature = "world")]
    let [keys, palette, tour] = [
        Kind::new("keys", keys, window::review_keys),
        Kind::new("palette", palette, window::review_palette)
            .with_unique::<crate::world::palette::PaletteFile>("name", |palette| palette.name()),
        Kind::new("tour", tour, window::review_tour),
    ];
    #[cfg(not(feature = "world"))]
    let [keys, palette, tour] = [("keys", keys), ("palette", palette), ("tour", tour)]
        .map(|(name, example)| Kind::unread(name, example));
    let palette = palette.with_renamed(&[
        DESCRIPTION,
        ("negative_on_paper", "negative_on_light"),
        ("positive_on_paper", "positive_on_light"),
    ]);
    [keys, palette, tour.with_renamed(&[("Shot", "Screenshot")])]
}
