//! `--draft`: what drafts answers, and how it is opened.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use clap::Args;

use super::engine::{Device, GpuMemory, open_engine};
use super::open_model;
use super::output::print_warning;
use crate::batch::draft::same_vocabulary;
use crate::batch::{Answer, DraftModel, DraftSource, ModelText};
use crate::content::assets::Assets;
use crate::engine::Capacity;
use crate::model::PixelModel;

/// How answers are drafted.
#[derive(Clone, Debug, Default, Args)]
pub struct DraftArgs {
    /// Guess tokens ahead and check several in one pass; the answers stay the same. `ngram` guesses
    /// what followed the same tokens before in prompt or answer; a MODEL of the same vocabulary, a
    /// file, guesses with its own answer; `off` guesses nothing [default: ngram on the processor,
    /// off on a GPU].
    #[arg(long, value_name = "ngram|off|MODEL", help_heading = "Running")]
    pub draft: Option<DraftChoice>,
}

/// What drafts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftChoice {
    /// Nothing.
    Off,
    /// The sequence itself.
    Ngram,
    /// A model.
    Model(PathBuf),
}

impl FromStr for DraftChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected ngram, off, or a model's file".into()),
            "off" => Ok(Self::Off),
            "ngram" => Ok(Self::Ngram),
            path => Ok(Self::Model(path.into())),
        }
    }
}

/// A choice whose model, if it is one, has been found to fit.
#[derive(Debug)]
pub(in crate::app::cli) enum CheckedDraft {
    Usual,
    Off,
    Ngram,
    Model(Box<PixelModel>),
}

impl DraftArgs {
    /// Opens the draft model, if one is named, and compares its vocabulary: before the engine of
    /// the other model is opened, which may take long.
    ///
    /// # Errors
    /// It cannot be opened, or has another vocabulary.
    pub(in crate::app::cli) fn check(
        &self,
        model: &PixelModel,
        text: &ModelText,
        assets: &Assets,
    ) -> anyhow::Result<CheckedDraft> {
        let path = match &self.draft {
            None => return Ok(CheckedDraft::Usual),
            Some(DraftChoice::Off) => return Ok(CheckedDraft::Off),
            Some(DraftChoice::Ngram) => return Ok(CheckedDraft::Ngram),
            Some(DraftChoice::Model(path)) => path,
        };
        let name = || format!("--draft {}", path.display());
        anyhow::ensure!(
            path.exists(),
            "{}: there is no such file; expected ngram, off, or a model's file",
            name()
        );
        let draft = open_model(Some(path), assets).with_context(name)?;
        let draft_text = ModelText::new(&draft)
            .context("the model's tokenizer cannot be used")
            .with_context(name)?;
        same_vocabulary(
            (draft_text.tokenizer(), draft.config().vocab_size),
            (text.tokenizer(), model.config().vocab_size),
        )
        .with_context(name)?;
        draft_text.warnings().iter().for_each(|warning| print_warning(warning));
        Ok(CheckedDraft::Model(Box::new(draft)))
    }
}

impl CheckedDraft {
    /// What drafts beside an engine of this capacity. A draft model computes on the processor.
    ///
    /// # Errors
    /// The draft model cannot be computed.
    pub(in crate::app::cli) fn open(self, capacity: Capacity) -> anyhow::Result<DraftSource> {
        let draft = match self {
            Self::Usual => return Ok(DraftSource::usual(capacity.steps)),
            Self::Off => return Ok(DraftSource::Off),
            Self::Ngram => return Ok(DraftSource::Ngram),
            Self::Model(draft) => draft,
        };
        let context = u32::try_from(capacity.context).unwrap_or(u32::MAX);
        // Sequences that it was not made for are answered without its drafts.
        let context = context.min(draft.config().context_length);
        let memory = GpuMemory::default();
        let engine = open_engine(Device::Cpu, *draft, capacity.slots, Some(context), memory)?;
        Ok(DraftSource::Model(Box::new(DraftModel::new(engine))))
    }
}

/// What came of the drafts of an answer, for its line; empty where nothing was drafted.
pub(in crate::app::cli) fn draft_line(answer: &Answer) -> String {
    drafts_in_words(answer.accepted_tokens.into(), answer.drafted_tokens.into())
}

/// The same for the counts of a run.
pub(in crate::app::cli) fn drafts_in_words(accepted: u64, drafted: u64) -> String {
    if drafted == 0 {
        return String::new();
    }
    format!(", {accepted} of {drafted} drafted tokens right")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_word_or_a_file() {
        assert_eq!("off".parse(), Ok(DraftChoice::Off));
        assert_eq!("ngram".parse(), Ok(DraftChoice::Ngram));
        assert_eq!("./off".parse(), Ok(DraftChoice::Model("./off".into())));
        assert!("".parse::<DraftChoice>().is_err());
    }

    #[test]
    fn counts_are_told_where_something_was_drafted() {
        assert_eq!(drafts_in_words(0, 0), "");
        assert_eq!(drafts_in_words(3, 9), ", 3 of 9 drafted tokens right");
    }
}
