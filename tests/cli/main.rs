//! Commands that answer a person: a conversation, a bench, a perplexity.

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod chat;
mod drafts;
mod lora;
mod perplexity;
mod prompt_cache;
mod prune;
mod refit;
mod refit_golden;
mod school;
