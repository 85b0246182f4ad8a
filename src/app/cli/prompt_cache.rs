//! `--prompt-cache`: prompts whose keys and values are kept on disk.

use std::path::PathBuf;

use clap::Args;

use super::engine::Device;
use crate::batch::prefixes::{DEFAULT_LIMIT, KeepRule, PrefixStore};
use crate::engine::Engine;
use crate::size::MemorySize;

/// Prompts that are kept on disk.
#[derive(Clone, Debug, Args)]
pub struct PromptCacheArgs {
    /// Keep the keys and values of long beginnings of prompts in this folder, and begin with them
    /// the next time: a system message, of a file's requests what two in turn have in common, or
    /// the only prompt. Answers stay the same. On the processor. `pixel-llm cache list
    /// --prompt-cache DIR` lists them. Not with adapters, which give others.
    #[arg(long, value_name = "DIR", conflicts_with = "lora", help_heading = "Running")]
    pub prompt_cache: Option<PathBuf>,
    /// What the folder may take; what was not used for longest goes.
    #[arg(
        long,
        value_name = "SIZE",
        default_value_t = DEFAULT_LIMIT,
        requires = "prompt_cache",
        hide_short_help = true,
        help_heading = "Running",
    )]
    pub prompt_cache_limit: MemorySize,
}

impl Default for PromptCacheArgs {
    fn default() -> Self {
        Self { prompt_cache: None, prompt_cache_limit: DEFAULT_LIMIT }
    }
}

impl PromptCacheArgs {
    /// The device that keeps prompts, of the one that was asked for.
    ///
    /// # Errors
    /// A GPU was asked for.
    pub(in crate::app::cli) fn device(&self, asked: Device) -> anyhow::Result<Device> {
        if self.prompt_cache.is_none() {
            return Ok(asked);
        }
        anyhow::ensure!(
            asked != Device::Gpu,
            "--prompt-cache: keys and values are kept of the processor alone; use --device cpu, \
             or leave it out"
        );
        Ok(Device::Cpu)
    }

    /// Opens the folder, if one is named.
    ///
    /// # Errors
    /// It cannot be used.
    pub(in crate::app::cli) fn open(
        &self,
        rule: KeepRule,
        engine: &dyn Engine,
    ) -> anyhow::Result<Option<PrefixStore>> {
        let Some(folder) = &self.prompt_cache else { return Ok(None) };
        Ok(Some(PrefixStore::open(folder, self.prompt_cache_limit, rule, engine)?))
    }
}
