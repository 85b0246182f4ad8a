//! 11  Mods: the world is made of RON, and whoever can edit a text can change it.
//!
//! Comes in: folders and zip archives with a `mod.ron` and contents named `NAME.KIND.ron`, and the built-in assets,
//! which are the mod `core`. Goes out: [`Loaded`], the contents after all mods, who set what, and everything that is
//! wrong with any of them, each with file, line, column and field. A mod is data: it runs nothing and reaches
//! nothing outside itself. Normative: `specs/mods.md`.
//!
//! Read in this order: [`tree`] and [`parse`] (RON with places), [`decode`] (a schema is a serde type),
//! [`registry`] and [`kinds`] (what there can be), [`manifest`], [`source`] (folders and archives), [`order`],
//! [`patch`], [`apply`](Contents), [`load`](load()), [`watch`] (hot reload), and the two kinds whose types are here:
//! [`experiment`] and [`model`].

mod apply;
pub mod built_in;
pub mod decode;
pub mod experiment;
pub mod kinds;
#[cfg(feature = "world")]
pub mod live;
mod load;
pub mod manifest;
pub mod model;
pub mod order;
pub mod pack;
pub mod parse;
pub mod patch;
mod problem;
pub mod registry;
pub mod settings;
pub mod source;
pub mod tree;
pub mod watch;

pub use apply::{Change, Content, Contents, What};
pub use load::{
    About, Loaded, MAX_MODS, ModReport, State, Unallowed, load, load_sources, load_with, user_folder,
};
pub use manifest::Manifest;
pub use problem::Problem;
pub use registry::{Kind, Registry, Review};
pub use settings::Settings;
