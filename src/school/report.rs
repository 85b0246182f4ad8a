//! What is told of a school.

use std::path::PathBuf;

use serde::Serialize;

use super::SchoolSettings;
use crate::lineage::{GateLineOutcome, MeasuredFigure};

/// A whole school.
#[derive(Clone, Debug, Serialize)]
pub struct SchoolReport {
    /// The model's root hash, in hexadecimal.
    pub model: String,
    /// The subject's name.
    pub subject: String,
    /// How it was held.
    pub settings: SchoolSettings,
    /// Where the plain texts come from, in words.
    pub plain_source: String,
    /// All texts, none of which shares a document with another.
    pub texts: Vec<SchoolText>,
    /// Rounds in order.
    pub rounds: Vec<RoundReport>,
    /// The round whose child is the last that passed, from 1.
    pub kept_round: Option<u32>,
    /// That child beside the model on the texts of the report, which were looked at once.
    pub final_exam: Option<FinalExam>,
    /// Why it ended, in words.
    pub ended: String,
}

/// A text and what it is for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SchoolText {
    /// `pool`, `gate`, `report`, `replay`, `plain_gate` or `plain_report`.
    pub role: &'static str,
    /// SHA-256, in hexadecimal.
    pub digest: String,
    /// Exercises, or pieces of text.
    pub count: usize,
    /// Tokens, without those of answers.
    pub tokens: usize,
}

/// A round.
#[derive(Clone, Debug, Serialize)]
pub struct RoundReport {
    /// Its number, from 1.
    pub round: u32,
    /// Answers that were sampled.
    pub samples: usize,
    /// Of these, right ones.
    pub right: usize,
    /// Exercises of which every answer was right; they count once like the others.
    pub easy: usize,
    /// Exercises that have a right answer now and had none in the rounds before.
    pub newly_verified: usize,
    /// The child and both controls.
    pub candidates: Vec<CandidateReport>,
}

/// What a candidate learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LearntFrom {
    /// The model's own answers that the checker took: the child.
    Verified,
    /// As many of its own answers that nobody checked: what does the checker add?
    Unchecked,
    /// As many true answers: what could be reached?
    TrueAnswers,
}

/// A candidate beside its parent, on what is held out.
#[derive(Clone, Debug, Serialize)]
pub struct CandidateReport {
    /// What it learnt from.
    pub learnt: LearntFrom,
    /// Answers that it learnt from.
    pub lines: usize,
    /// The SHA-256 of its adapter, in hexadecimal.
    pub adapter: String,
    /// Its file, where it was written.
    pub file: Option<PathBuf>,
    /// What was measured.
    pub figures: Vec<MeasuredFigure>,
    /// What the limits say of it.
    pub verdict: Vec<GateLineOutcome>,
    /// Whether all of them hold.
    pub passed: bool,
}

/// What is kept beside the model, on texts that nothing was decided by.
#[derive(Clone, Debug, Serialize)]
pub struct FinalExam {
    /// What was measured.
    pub figures: Vec<MeasuredFigure>,
    /// What the same limits say of it.
    pub verdict: Vec<GateLineOutcome>,
    /// Whether all of them hold.
    pub holds: bool,
}
