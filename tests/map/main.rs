//! The infinite map: on disk, under attack, killed half-way, and over a model.

mod cli;
mod crash;
mod hostile;
mod model;
