//! `pixel-llm serve` and `run --follow` as programs, with clients over the network and pipes.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

#[path = "../common/mod.rs"]
mod common;

mod browser;
mod client;
mod clients;
mod follow;
mod forms;
mod hostile;
mod limits;
mod same;
mod shapes;
mod streams;
mod tools;
mod window;
