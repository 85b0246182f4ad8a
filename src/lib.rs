//! A language model is a world: its weights are pixels, its pixels are tiles on an infinite map,
//! and the textures that are drawn are what the forward pass reads.
//!
//! Follow a byte from the disk to the screen; each floor uses only those above it in this list,
//! which `tests/house/floors.rs` holds:
//!
//! - [`names`], [`size`], [`words`], [`terminal`], [`memory`], [`folders`], [`files`]: what a
//!   misspelt name may mean, bytes as a person writes them, counts in sentences, text from
//!   elsewhere made safe to show, what the program takes, where the user's things are, and files
//!   that are read.
//! - [`pxi`]: PixelFS, bytes as RGB pixels in a `.pxi` file.
//! - [`outputs`]: which files may be written.
//! - [`model`]: PXI-LLM, a model as a `.pxi` file; GGUF in and out; tokenizer and chat template.
//! - [`map`]: InfiniteMap, the plane on which everything has its place.
//! - [`content`]: RON from the program, from mods and from the user's own folder.
//! - `tiles`: the pixels of a model as textures on the GPU, and the model as entities.
//! - [`residency`]: which tiles are in memory and which should be; models larger than the device.
//! - [`forward`]: the forward pass, on the processor and in Bevy's render graph, and sampling.
//! - [`engine`]: what runs batches of columns: the processor, or an adapter that a trial has chosen
//!   the kernels for.
//! - [`batch`]: requests, the schedule, results.
//! - `serve`: the same over HTTP, as OpenAI has it.
//! - [`training`]: a model learns through the tiles that compute its answers.
//! - [`refit`]: a model in a file of a given size that says nearly the same.
//! - [`experiment`]: prompts times interventions.
//! - [`lineage`]: every child of a model, what was measured of it, and which is in use.
//! - [`school`]: a model learns from its own answers what it can prove.
//! - [`prune`]: a model without the heads or layers that are needed least.
//! - [`coach`]: tasks that do useful things to the loaded model.
//! - [`agents`]: who does them, as entities that choose by utility, in a simulation of fixed ticks.
//! - `world`: the map as a place: layout, camera, drawing, tours.
//! - `panel`: its text and panels.
//! - [`app`]: the modes and the command line, and the list of all kinds of content.

pub mod agents;
pub mod app;
pub mod batch;
pub mod coach;
pub mod content;
pub mod engine;
pub mod experiment;
pub mod files;
pub mod folders;
pub mod forward;
pub mod lineage;
pub mod map;
pub mod memory;
pub mod model;
pub mod names;
pub mod outputs;
#[cfg(feature = "world")]
pub mod panel;
pub mod prune;
pub mod pxi;
pub mod refit;
pub mod residency;
pub mod school;
#[cfg(feature = "serve")]
pub mod serve;
pub mod size;
pub mod terminal;
#[cfg(feature = "world")]
pub mod tiles;
pub mod training;
pub mod words;
#[cfg(feature = "world")]
pub mod world;
