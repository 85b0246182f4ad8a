//! The exercises of a subject: a pool to answer, and two parts that are held out by what they are
//! about. The gate's part decides; the report's is looked at once, when a child is kept.

use std::collections::BTreeSet;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{SchoolError, SchoolProblem, SchoolSettings, Subject};
use crate::batch::{ModelText, Prompt, TextModel};
use crate::model::{PixelModel, hex};
use crate::names::number_of;
use crate::training::corpus::{CorpusLine, generate};
use crate::training::data::Checker;

/// The fewest exercises of a kind in the pool, and in each part that is held out: with fewer an
/// error says nothing.
const LEAST: usize = 8;

/// Tokens that an answer may have beyond twice those of the right one.
const SPARE_TOKENS: usize = 8;

/// An exercise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exercise {
    /// What is judged together with others.
    pub kind: String,
    /// What the model is given.
    pub prompt: String,
    /// What is right.
    pub answer: String,
    /// How an answer is compared with that.
    pub check: Checker,
    /// The prompt's tokens.
    #[serde(skip)]
    pub tokens: Vec<u32>,
    /// The right answer's tokens, without one that ends it.
    #[serde(skip)]
    pub answer_tokens: Vec<u32>,
    /// Exercises of one group have the same values of the slots that are held out.
    #[serde(skip)]
    pub group: u64,
}

impl Exercise {
    fn new(kind: &str, line: CorpusLine, text: &ModelText) -> Result<Self, SchoolError> {
        Ok(Self {
            kind: kind.to_owned(),
            tokens: text.encode(&Prompt::Text(line.prompt.clone()))?,
            answer_tokens: text.tokenizer().encode_continuation(&line.completion),
            prompt: line.prompt,
            answer: line.completion,
            check: line.check,
            group: line.group,
        })
    }

    /// The most tokens of an answer.
    pub fn most_tokens(&self) -> usize {
        2 * self.answer_tokens.len() + SPARE_TOKENS
    }

    /// Positions that it takes with its answer.
    pub fn positions(&self) -> usize {
        self.tokens.len() + self.most_tokens()
    }
}

/// All exercises of a school.
#[derive(Clone, Debug, PartialEq)]
pub struct SubjectExercises {
    /// To answer and to learn from.
    pub pool: Vec<Exercise>,
    /// Held out: these decide.
    pub gate: Vec<Exercise>,
    /// Held out: looked at once, when a child is kept.
    pub report: Vec<Exercise>,
}

impl SubjectExercises {
    /// Makes the exercises of a subject, as many of each kind as there are, up to what is asked
    /// for.
    ///
    /// # Errors
    /// A kind has too few, one is longer than the model's context, or one would be learnt that is
    /// held out.
    pub fn new(
        subject: &Subject,
        model: &PixelModel,
        text: &ModelText,
        settings: &SchoolSettings,
    ) -> Result<Self, SchoolError> {
        let kinds = subject.kinds();
        let share = |all: usize| all.div_ceil(kinds.len().max(1));
        let wanted = (share(settings.exercises), 2 * share(settings.held_out));
        let mut made = Self { pool: Vec::new(), gate: Vec::new(), report: Vec::new() };
        for (kind, templates) in &kinds {
            let corpus = subject.corpus(templates);
            let lines = generate(&corpus, Some(model), settings.seed, wanted)?;
            let mut parts = [Vec::new(), Vec::new(), Vec::new()];
            for line in lines.train {
                parts[0].push(Exercise::new(kind, line, text)?);
            }
            for line in lines.valid {
                // By what it says: no seed moves an exercise from one part to the other.
                let is_report = number_of(&line.prompt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63;
                parts[1 + is_report as usize].push(Exercise::new(kind, line, text)?);
            }
            for (part, what) in parts.iter().zip(["to learn", "of the gate", "of the report"]) {
                if part.len() < LEAST {
                    let (kind, found) = (kind.clone(), part.len());
                    let few = SchoolProblem::FewExercises { kind, what, found, least: LEAST };
                    return Err(few.into());
                }
            }
            let [pool, gate, report] = parts;
            made.pool.extend(pool);
            made.gate.extend(gate);
            made.report.extend(report);
        }
        made.check(model.config().context_length as usize)?;
        Ok(made)
    }

    fn check(&self, context: usize) -> Result<(), SchoolProblem> {
        let pool: BTreeSet<&str> = self.pool.iter().map(|it| it.prompt.as_str()).collect();
        let held = || self.gate.iter().chain(&self.report);
        if let Some(shared) = held().find(|it| pool.contains(it.prompt.as_str())) {
            return Err(SchoolProblem::Overlap(shared.prompt.clone()));
        }
        let tokens = self.positions();
        if tokens > context {
            return Err(SchoolProblem::TooLong { tokens, context });
        }
        Ok(())
    }

    /// Positions of the longest.
    pub fn positions(&self) -> usize {
        let all = self.pool.iter().chain(&self.gate).chain(&self.report);
        all.map(Exercise::positions).max().unwrap_or(1)
    }

    /// The names of its kinds, in order.
    pub fn kinds(&self) -> BTreeSet<String> {
        self.gate.iter().map(|it| it.kind.clone()).collect()
    }
}

/// The SHA-256 of exercises, in hexadecimal.
pub fn digest(exercises: &[Exercise]) -> String {
    let mut hash = Sha256::new();
    for Exercise { kind, prompt, answer, .. } in exercises {
        for text in [kind, prompt, answer] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
    }
    hex(&hash.finalize())
}
