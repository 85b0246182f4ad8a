//! Training against a float64 oracle.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod golden;
#[cfg(feature = "world")]
mod gpu;
#[cfg(feature = "world")]
mod kernels;
#[cfg(feature = "world")]
mod learn;
