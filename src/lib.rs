//! A language model is a world: its weights are pixels, its pixels are tiles on an infinite map, and the
//! textures that are drawn are what the forward pass reads.
//!
//! Read the modules in this order and follow a byte from the disk to the screen:
//!
//! 1. [`pxi`]: PixelFS, bytes as RGB pixels in a `.pxi` file.
//! 2. [`model`]: PXI-LLM, a model as a `.pxi` file; GGUF in and out; tokenizer and chat template.
//! 3. [`map`]: InfiniteMap, the plane on which everything has its place.
//! 4. `tiles`: the pixels of a model as textures on the GPU, and the model as entities.
//! 5. [`residency`]: which tiles are in memory and which should be; models larger than the device.
//! 6. [`passes`]: the forward pass, on the CPU and in Bevy's render graph, with its `shaders`.
//! 7. [`tokens`]: requests, sampling, batches and results.
//! 8. `world`: the map as a place: layout, camera, drawing, tours; above it `panel`, its text and panels.
//! 9. [`coach`]: tasks that do useful things to the loaded model.
//! 10. [`agents`]: who does them, as entities that choose by utility, in a simulation of fixed ticks.
//! 11. [`mods`]: contents as RON, from the program and from folders and archives.
//!
//! [`assets`] is what travels inside the program and what mods make of it, [`names`] what a misspelt one may mean, [`folders`] where the user's things are, [`files`] which of them may be read and written, [`size`] how many bytes a person means, [`words`] counts things in sentences, [`terminal`] makes text from elsewhere safe to show, [`memory`] what the program takes, [`app`] the modes and the command line.

pub mod agents;
pub mod app;
pub mod assets;
pub mod coach;
pub mod files;
pub mod folders;
pub mod map;
pub mod memory;
pub mod model;
pub mod mods;
pub mod names;
#[cfg(feature = "world")]
pub mod panel;
pub mod passes;
pub mod pxi;
pub mod residency;
#[cfg(feature = "world")]
pub mod shaders;
pub mod size;
pub mod terminal;
#[cfg(feature = "world")]
pub mod tiles;
pub mod tokens;
pub mod words;
#[cfg(feature = "world")]
pub mod world;
