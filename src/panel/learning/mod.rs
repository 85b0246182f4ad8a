//! The panel "Learn": a lesson, its losses and questions, and the adapters that lie over the model.

mod adapters;
mod curve;
pub(crate) mod lesson;
mod questions;
