//! PXI-LLM: a language model as a `.pxi` file.
//!
//! In comes a GGUF file of the llama, qwen2 or qwen3 family; out goes a file whose payload is the
//! model: metadata, a tensor table, and tiles of 64 x 64 texels in the order the GPU reads, each
//! with its own SHA-256. The way back gives every byte. The map plan gives every tensor, layer,
//! head and tile its place. The specification is `specs/pxi_llm.md`.

pub mod adapter;
pub mod chat;
pub mod coarse;
pub(crate) mod colour;
pub mod config;
pub mod convert;
pub mod edits;
mod error;
pub mod export;
mod file_head;
pub mod gguf;
pub mod header;
mod pixel_model;
pub mod plan;
pub mod planes;
pub mod poster;
pub mod pruned;
pub mod quant;
pub mod rearrange;
pub mod relief;
pub mod resolve;
pub mod rewrite;
pub mod tensors;
mod tile_record;
pub mod tiling;
pub mod tokenizer;
pub mod verify;
pub mod weights;

pub use adapter::{Adapter, AdapterError, LowRank};
pub use chat::{ChatMessage, ChatTemplate};
pub use config::{Architecture, ModelConfig, RopeKind, RopeScaling};
pub use error::ModelError;
pub use file_head::FileHead;
pub use pixel_model::PixelModel;
pub use plan::MapPlan;
pub use quant::Encoding;
pub use resolve::Cache;
pub use tensors::Tensor;
pub use tokenizer::Tokenizer;

pub(crate) use crate::pxi::hex;
