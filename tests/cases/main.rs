//! Inputs that went wrong once, each with what is right: the folders of `../shared/cases` and
//! others of their kinds.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod cache;
mod consent;
mod files;
mod models;
mod mods;
mod queues;
mod requests;
mod seed;
mod signs;
mod support;
mod templates;
mod terminal;
