//! What `refit` and `prune` share: a text to look at and another to measure with, of files or
//! written by the model itself; bars for parts of the work.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;

use super::output::progress_bar;
use crate::batch::ModelText;
use crate::forward::cpu::CpuModel;
use crate::model::PixelModel;
use crate::model::tokenizer::EncodeOptions;
use crate::refit::text::WINDOW;
use crate::refit::{ParentFigures, RefitProgress, RefitText, written_by};
use crate::size::MemorySize;

/// Two texts.
#[derive(Debug, Args)]
pub struct TextsArgs {
    /// A text to measure with.
    #[arg(long, value_name = "FILE", requires = "check")]
    pub calibrate: Option<PathBuf>,
    /// Another text, which decides.
    #[arg(long, value_name = "FILE", requires = "calibrate")]
    pub check: Option<PathBuf>,
    /// Tokens of each text.
    #[arg(long, value_name = "N", default_value_t = 4096,
        value_parser = clap::value_parser!(u32).range(WINDOW as i64..))]
    pub tokens: u32,
    /// Seed of the texts that the model writes.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

impl TextsArgs {
    /// The files that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> + use<> {
        self.calibrate.clone().into_iter().chain(self.check.clone())
    }

    /// What the parent expects is kept for a whole text.
    pub(super) fn check_memory(&self, model: &PixelModel) -> anyhow::Result<()> {
        let vocab = model.config().vocab_size;
        let needed = ParentFigures::size_in_bytes(self.tokens as usize, vocab);
        let Some(free) = crate::memory::available_in_bytes() else { return Ok(()) };
        let fitting = u64::from(self.tokens) * free / 2 / needed.max(1);
        anyhow::ensure!(
            needed < free / 2,
            "what the model expects of {} tokens takes {}, of {} free; take --tokens {}",
            self.tokens,
            MemorySize(needed),
            MemorySize(free),
            (fitting as usize / WINDOW * WINDOW).max(WINDOW)
        );
        Ok(())
    }

    /// The calibration text and the text of the check.
    pub(super) fn texts(
        &self,
        parent: &CpuModel,
        bars: &Bars,
    ) -> anyhow::Result<(RefitText, RefitText)> {
        let length = WINDOW.min(parent.config().context_length as usize);
        let count = self.tokens as usize / length;
        if let (Some(calibrate), Some(check)) = (&self.calibrate, &self.check) {
            let text = ModelText::new(parent.model()).context("the tokenizer cannot be used")?;
            let read = |path: &Path| -> anyhow::Result<RefitText> {
                let name = path.display();
                let text_of = std::fs::read_to_string(path);
                let text_of = text_of.with_context(|| format!("cannot read {name}"))?;
                let tokens = text.tokenizer().encode(&text_of, EncodeOptions::default());
                let cut = RefitText::cut(&tokens, length, count);
                anyhow::ensure!(
                    !cut.windows.is_empty(),
                    "{name}: the text has {} tokens, fewer than a window of {length}",
                    tokens.len()
                );
                Ok(cut)
            };
            let (calibration, gate) = (read(calibrate)?, read(check)?);
            let shared = calibration.windows.iter().find(|window| gate.windows.contains(window));
            anyhow::ensure!(
                shared.is_none(),
                "{} and {} share text: what decides must be another one",
                calibrate.display(),
                check.display()
            );
            return Ok((calibration, gate));
        }
        bars.begins("the model writes the texts", 2 * count * (length - 1));
        let first =
            ModelText::new(parent.model()).ok().and_then(|text| text.tokenizer().first_token());
        let write =
            |seed| written_by(parent, first, seed, [count, length], &|tokens| bars.done(tokens));
        Ok((write(self.seed)?, write(self.seed.wrapping_add(1 << 32))?))
    }

    pub(super) fn text_name(&self, calibration: &RefitText) -> String {
        let tokens = calibration.tokens();
        match &self.calibrate {
            Some(path) => format!("{tokens} tokens of {}", path.display()),
            None => format!("{tokens} tokens written by the model with seed {}", self.seed),
        }
    }
}

/// A bar for each part of the work.
#[derive(Default)]
pub(super) struct Bars(Mutex<Option<ProgressBar>>);

impl Bars {
    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// No bar is seen any more.
    pub(super) fn end(&self) {
        self.with(|bar| bar.iter().for_each(ProgressBar::finish_and_clear));
    }
}

impl RefitProgress for Bars {
    fn begins(&self, what: &'static str, steps: usize) {
        self.with(|bar| {
            if let Some(before) = bar.replace(progress_bar(what, steps as u64)) {
                before.finish_and_clear();
            }
        });
    }

    fn done(&self, steps: usize) {
        self.with(|bar| bar.iter().for_each(|bar| bar.inc(steps as u64)));
    }
}
