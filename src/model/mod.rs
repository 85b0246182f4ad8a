//! 2  PXI-LLM.
