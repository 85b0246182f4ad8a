//! `pixel-llm train`: a model learns from lines of JSON, through the tiles that answer.

mod arguments;
mod drive;
mod prepare;
mod report;
mod show;

pub use arguments::TrainArgs;
pub use drive::run;
pub(in crate::app::cli) use prepare::{explain_data, warn_of as warn_of_data};
