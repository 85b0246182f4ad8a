//! Text of the model's own kind, which it must not forget: some to learn again beside the answers,
//! some to decide, some to report. Each piece begins where a document begins: pieces cut out of
//! the middle teach a model that documents begin so, and a gate of such pieces is fooled by it.

use std::collections::BTreeSet;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{SchoolError, SchoolProblem, SchoolProgress, SchoolSettings};
use crate::batch::ModelText;
use crate::forward::cpu::CpuModel;
use crate::model::hex;
use crate::names::number_of;
use crate::refit::written_by;
use crate::training::Sequence;
use crate::training::data::{DataError, DataOptions, Dataset, TargetChoice};

/// Tokens of a piece that is learnt again, at most: short, so that few fill a share of a step.
const REPLAY_LENGTH: usize = 128;
/// The most tokens that the model writes to be learnt again.
const MOST_REPLAY: usize = 16_384;
/// Tokens of a piece that is measured, at most.
const MEASURED_LENGTH: usize = 256;
/// Pieces of the gate, and of the report, that the model writes.
const MEASURED: usize = 32;
/// The fewest documents of a text: with fewer an error says nothing.
const LEAST: usize = 8;

/// Pieces of plain text as tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainTexts {
    /// Where they come from, in words.
    pub source: String,
    /// To learn again.
    pub replay: Vec<Vec<u32>>,
    /// Whose loss decides.
    pub gate: Vec<Vec<u32>>,
    /// Whose loss is looked at once.
    pub report: Vec<Vec<u32>>,
}

impl PlainTexts {
    /// Has the model write them, freely and as it would, from the token that begins its documents.
    ///
    /// # Errors
    /// It has no such token, or cannot compute.
    pub fn written_by(
        model: &CpuModel,
        text: &ModelText,
        settings: &SchoolSettings,
        progress: &dyn SchoolProgress,
    ) -> Result<Self, SchoolError> {
        let tokenizer = text.tokenizer();
        let first = tokenizer.first_token().or_else(|| tokenizer.bos());
        let first = first.or_else(|| tokenizer.eos()).ok_or(SchoolProblem::NoBeginning)?;
        let context = model.config().context_length as usize;
        let (replay, measured) = (REPLAY_LENGTH.min(context), MEASURED_LENGTH.min(context));
        let tokens =
            (settings.steps as f64 * settings.batch_tokens as f64 * settings.replay).ceil();
        let count = (tokens as usize).min(MOST_REPLAY).div_ceil(replay);
        let parts = [
            ("school.replay", count, replay),
            ("school.gate", MEASURED, measured),
            ("school.report", MEASURED, measured),
        ];
        let all: usize = parts.iter().map(|(_, count, length)| count * (length - 1)).sum();
        progress.begins("the model writes plain text", all);
        let mut texts = Vec::new();
        for (stream, count, length) in parts {
            if !progress.goes_on() {
                return Err(SchoolError::Stopped);
            }
            let seed = settings.seed ^ number_of(stream);
            let told = |tokens| progress.done(tokens);
            let written = written_by(model, Some(first), seed, [count, length], &told)?;
            texts.push(written.windows);
        }
        let source = format!("written by the model with seed {}", settings.seed);
        let [replay, gate, report] = take3(texts);
        let mut texts = Self { source, replay, gate, report };
        texts.part();
        Ok(texts)
    }

    /// Reads documents, lines of JSON with `text`: those of one file are learnt again, those of
    /// the other decide and report, by what they say.
    ///
    /// # Errors
    /// A file cannot be read, has too few documents, or both share one.
    pub fn read(
        learnt: &Path,
        check: &Path,
        text: &ModelText,
        context: usize,
    ) -> Result<Self, PlainTextError> {
        let documents = |path: &Path, length: usize| -> Result<Vec<Vec<u32>>, DataError> {
            let targets = TargetChoice::All;
            let context = length.min(context);
            let options = DataOptions { targets, end: true, context, truncate: true };
            let data = Dataset::read(path, text, &options)?;
            Ok(data.examples.into_iter().map(|example| example.sequence.tokens).collect())
        };
        let replay = documents(learnt, REPLAY_LENGTH)?;
        let held = documents(check, MEASURED_LENGTH)?;
        let known: BTreeSet<&[u32]> = replay.iter().map(Vec::as_slice).collect();
        let shared = held.iter().find(|piece| known.contains(beginning(piece)));
        if let Some(shared) = shared {
            let said = text.tokenizer().decode(beginning(shared), true);
            let said = said.chars().take(60).collect();
            return Err(SchoolProblem::SharedDocument(said).into());
        }
        let (report, gate): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|piece| first_byte(piece) % 2 == 1);
        let few =
            [("--text", &replay), ("--check, to decide", &gate), ("--check, to report", &report)]
                .into_iter()
                .find(|(_, part)| part.len() < LEAST);
        if let Some((what, part)) = few {
            return Err(
                SchoolProblem::FewDocuments { what, found: part.len(), least: LEAST }.into()
            );
        }
        let source = format!("{} and {}", learnt.display(), check.display());
        Ok(Self { source, replay, gate, report })
    }

    /// Leaves out what two parts begin alike with: a model may write the same twice.
    fn part(&mut self) {
        let gate: BTreeSet<Vec<u32>> = self.gate.iter().map(|it| beginning(it).to_vec()).collect();
        self.report.retain(|piece| !gate.contains(beginning(piece)));
        let held: BTreeSet<Vec<u32>> =
            self.report.iter().map(|it| beginning(it).to_vec()).chain(gate).collect();
        self.replay.retain(|piece| !held.contains(beginning(piece)));
    }
}

/// Why plain texts cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlainTextError {
    /// A file cannot be.
    #[error(transparent)]
    Data(#[from] DataError),
    /// They are not apart, or too few.
    #[error(transparent)]
    Problem(#[from] SchoolProblem),
}

fn take3(texts: Vec<Vec<Vec<u32>>>) -> [Vec<Vec<u32>>; 3] {
    let mut texts = texts.into_iter();
    std::array::from_fn(|_| texts.next().unwrap_or_default())
}

/// What pieces of different lengths have of the same document.
fn beginning(piece: &[u32]) -> &[u32] {
    &piece[..piece.len().min(REPLAY_LENGTH)]
}

fn first_byte(piece: &[u32]) -> u8 {
    let mut hash = Sha256::new();
    piece.iter().for_each(|token| hash.update(token.to_le_bytes()));
    hash.finalize()[0]
}

/// A piece as what is learnt or scored: every token but the first.
pub(super) fn sequence(piece: &[u32], weight: f32) -> Sequence {
    Sequence { weight, ..Sequence::from_first_target(piece.to_vec(), 1) }
}

/// The SHA-256 of pieces, in hexadecimal.
pub fn digest(pieces: &[Vec<u32>]) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update((piece.len() as u64).to_le_bytes());
        piece.iter().for_each(|token| hash.update(token.to_le_bytes()));
    }
    hex(&hash.finalize())
}
