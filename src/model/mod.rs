//! 2  PXI-LLM.

pub mod dequant;
pub mod encoding;
pub mod gguf;
