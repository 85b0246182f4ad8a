//! Models: GGUF in and out, encodings, tokenizers, chat templates, and the commands on them.

#[path = "../common/mod.rs"]
mod common;

mod adapter;
mod chat_template;
mod cli;
mod gguf_hostile;
mod gguf_read;
mod gguf_real;
mod gguf_write;
mod hostile;
mod merge;
mod peft;
mod quant;
mod roundtrip;
mod tokenizer;
mod versions;
