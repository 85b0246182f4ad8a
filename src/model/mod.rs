//! 2  PXI-LLM.

pub mod chat;
pub mod dequant;
pub mod encoding;
pub mod gguf;
pub mod tokenizer;
