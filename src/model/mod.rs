//! 2  PXI-LLM.

pub mod chat;
pub mod tokenizer;
