//! The world: what is drawn, what is thought in it, and a person in its window.

#[path = "../common/mod.rs"]
mod common;

mod absurd;
mod agents;
mod ambiguity;
mod changed;
mod damaged;
mod edits;
mod entities;
mod every_key;
mod family;
mod front;
mod learning;
mod looks;
mod lost;
mod memory;
mod mods;
mod offscreen;
mod panels;
mod refused;
mod river;
mod screen;
mod search;
mod serving;
mod streamed;
mod think;
mod truth;
mod walk;
mod window;
