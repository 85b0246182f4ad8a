//! Content: the world is made of RON, and whoever can edit a text can change it.
//!
//! In: folders and zip archives with a `mod.ron` and contents named `NAME.KIND.ron`, and the
//! built-in files, which are the mod `core`. Out: [`Loaded`], the contents after all mods, who set
//! what, and everything that is wrong with any of them, each with file, line, column and field; and
//! [`Assets`], which reads them when they are first asked for. A mod is data: it runs nothing and
//! reaches nothing outside itself. Normative: `specs/mods.md`.
//!
//! Nothing here knows what the contents are for: who uses a kind says what is right for it, and the
//! [`Registry`] of all kinds comes from outside.
//!
//! Read in this order: [`tree`] and [`parse`] (RON with places), [`decode`] (a schema is a serde
//! type), [`registry`] (what there can be), [`manifest`], [`source`] (folders and archives),
//! [`order`], [`patch`], [`apply`](Contents), [`load`](load()), [`watch`] (hot reload), [`assets`],
//! and the two kinds whose types are here: [`model`] and [`WorldRules`].

mod apply;
pub mod assets;
pub mod built_in;
pub mod decode;
pub mod json;
mod load;
pub mod manifest;
pub mod model;
pub mod order;
pub mod pack;
pub mod parse;
pub mod patch;
mod problem;
pub mod registry;
mod renamed;
pub mod settings;
pub mod source;
pub mod tree;
pub mod watch;
mod world_rules;

pub use apply::{Change, Content, Contents, What};
pub use assets::{AssetError, Assets};
pub use load::{
    About, Loaded, MAX_MODS, ModReport, State, Unallowed, load, load_sources, load_with,
    user_folder,
};
pub use manifest::Manifest;
pub use problem::{Problem, did_you_mean};
pub use registry::{Kind, Registry, Review};
pub use renamed::Renamed;
pub use settings::Settings;
pub use world_rules::{DEFAULT_NAME, WorldRules, review_world};
