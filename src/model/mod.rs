//! 2  PXI-LLM.

pub mod encoding;
