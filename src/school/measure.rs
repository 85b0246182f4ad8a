//! How good a model is at exercises that were held out and at plain text, text by text, so that a
//! child can be compared with its parent in pairs.

use std::collections::{BTreeMap, BTreeSet};

use super::answers::{Pupil, WatchedEngine};
use super::plain::sequence;
use super::{Exercise, SchoolError, SchoolSettings};
use crate::batch::Answer;
use crate::lineage::{
    Against, FigureKind, FigureName, Gate, GateLine, GateLineOutcome, MeasuredFigure,
};
use crate::model::Adapter;
use crate::training::data::Checker;
use crate::training::evaluate::score;

/// Half of the tokens that a drawn continuation of plain text has at most, less a few.
const CONTINUED: usize = 8;
/// A child may write the model's own kind of text worse by so much, in nats per token.
const MORE_LOSS: f64 = 0.01;
/// A child answers more by more than so many standard errors: of harmless ones one of 44 does by
/// chance, where one of six does by more than one.
const ERRORS: f64 = 2.0;
/// A child keeps so much of the variety of its parent's answers.
const KEPT_VARIETY: f64 = 0.5;

/// What a model is examined on.
pub(super) struct Exam<'a> {
    pub exercises: &'a [Exercise],
    /// The digest of these.
    pub exercises_digest: &'a str,
    pub plain: &'a [Vec<u32>],
    /// The digest of these.
    pub plain_digest: &'a str,
}

/// What came of an exam, text by text.
pub(super) struct ExamResult {
    /// 1 where a greedy answer is right, else 0.
    right: Vec<f64>,
    /// The mean loss of each piece of plain text, in nats per token.
    losses: Vec<f64>,
    /// Of each piece of plain text the share of its drawn continuations that are different ones.
    distinct: Vec<f64>,
    /// Of the same the entropy of their first token, in nats.
    entropy: Vec<f64>,
}

impl Exam<'_> {
    /// Examines a model with an adapter or without.
    pub fn of(
        &self,
        pupil: &Pupil<'_>,
        adapter: Option<&Adapter>,
        (settings, name): (&SchoolSettings, &str),
    ) -> Result<ExamResult, SchoolError> {
        let varied = self.beginnings(pupil.positions);
        let steps = self.exercises.len() + self.plain.len() + varied.len();
        pupil.progress.begins(&format!("examination: {name}"), steps);
        let mut engine = pupil.engine(adapter)?;
        let answers = pupil.greedy(&mut engine, self.exercises)?;
        let right = |(exercise, answer): (&Exercise, &Answer)| {
            f64::from(u8::from(exercise.check.is_right(&answer.text, &exercise.answer)))
        };
        let right = self.exercises.iter().zip(&answers).map(right).collect();
        let drawn = pupil.drawn(&mut engine, &varied, (settings, "school.variety"))?;
        Ok(ExamResult {
            right,
            losses: self.losses(pupil, &mut engine)?,
            distinct: drawn.iter().map(|answers| distinct_share(answers)).collect(),
            entropy: drawn.iter().map(|answers| first_token_entropy(answers)).collect(),
        })
    }

    /// Beginnings of the plain text, to be gone on with: on them the variety of what is drawn is
    /// measured. An exercise has one right answer, and who learns it says less else.
    fn beginnings(&self, positions: usize) -> Vec<Exercise> {
        let beginning = |piece: &Vec<u32>| {
            let mut begun = Exercise {
                kind: "plain text".into(),
                prompt: String::new(),
                // A line break does not end what has one in its answer.
                answer: "\n".into(),
                check: Checker::Exact,
                tokens: Vec::new(),
                answer_tokens: vec![0; CONTINUED],
                group: 0,
            };
            let room = positions.saturating_sub(begun.most_tokens());
            let length = (piece.len() / 4).min(room).max(1);
            begun.tokens = piece.iter().take(length).copied().collect();
            begun
        };
        self.plain.iter().map(beginning).collect()
    }

    fn losses(
        &self,
        pupil: &Pupil<'_>,
        engine: &mut WatchedEngine<'_>,
    ) -> Result<Vec<f64>, SchoolError> {
        let stop = engine.stop();
        let mut losses = Vec::with_capacity(self.plain.len());
        for piece in self.plain {
            let pieces = [sequence(piece, 1.0)];
            let loss = score(engine, &pieces, &stop, &mut || pupil.progress.done(1))?;
            losses.push(loss.ok_or(SchoolError::Stopped)?.mean());
        }
        Ok(losses)
    }

    /// What both came to.
    pub fn compare(&self, parent: &ExamResult, child: &ExamResult) -> Vec<MeasuredFigure> {
        let groups: Vec<u64> = self.exercises.iter().map(|it| it.group).collect();
        let of = MeasuredFigure::paired_in_groups;
        let exercises = self.exercises_digest;
        let plain = FigureName::plain;
        let pair = [&*parent.right, &*child.right];
        let mut figures = vec![of(plain(FigureKind::ExactMatch), exercises, pair, &groups)];
        let mut kinds: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, exercise) in self.exercises.iter().enumerate() {
            kinds.entry(&exercise.kind).or_default().push(at);
        }
        for (kind, at) in &kinds {
            let right =
                |result: &ExamResult| at.iter().map(|&at| result.right[at]).collect::<Vec<_>>();
            let name = FigureName::of(FigureKind::ExactMatch, *kind);
            let groups: Vec<u64> = at.iter().map(|&at| groups[at]).collect();
            let (parent, child) = (right(parent), right(child));
            figures.push(of(name, exercises, [&*parent, &*child], &groups));
        }
        let (name, pair) = (plain(FigureKind::Loss), [&*parent.losses, &*child.losses]);
        let of_plain =
            |name, pair| MeasuredFigure::paired(name, Against::Parent, self.plain_digest, pair);
        figures.push(of_plain(name, pair));
        let pair = [&*parent.distinct, &*child.distinct];
        figures.push(of_plain(plain(FigureKind::Distinct), pair));
        let pair = [&*parent.entropy, &*child.entropy];
        figures.push(of_plain(plain(FigureKind::FirstTokenEntropy), pair));
        figures
    }
}

/// What a gate says of these figures: better in sum by more than two errors, no kind worse by more
/// than its own, plain text no worse, answers as varied.
pub(super) fn judge(figures: &[MeasuredFigure]) -> Vec<GateLineOutcome> {
    let gate = Gate {
        description: String::new(),
        tokens: 0,
        seed: 0,
        exams: BTreeMap::new(),
        lines: figures.iter().map(gate_line).collect(),
    };
    gate.judge(figures)
}

fn gate_line(figure: &MeasuredFigure) -> GateLine {
    let name = &figure.name;
    let line = GateLine {
        figure: name.clone(),
        better_than: None,
        errors: None,
        no_worse_than: None,
        by: None,
        at_most: None,
        at_least: None,
    };
    let parent = Some(Against::Parent);
    match name.kind {
        FigureKind::ExactMatch if name.of.is_none() => {
            GateLine { better_than: parent, errors: Some(ERRORS), ..line }
        }
        FigureKind::Loss => GateLine { no_worse_than: parent, by: Some(MORE_LOSS), ..line },
        FigureKind::Distinct | FigureKind::FirstTokenEntropy => {
            GateLine { at_least: Some(KEPT_VARIETY * figure.parent), ..line }
        }
        _ => GateLine { no_worse_than: parent, ..line },
    }
}

fn distinct_share(answers: &[Answer]) -> f64 {
    let distinct: BTreeSet<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
    distinct.len() as f64 / answers.len().max(1) as f64
}

fn first_token_entropy(answers: &[Answer]) -> f64 {
    let mut counts: BTreeMap<Option<u32>, usize> = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.tokens.first().copied()).or_default() += 1;
    }
    let share = |count: &usize| *count as f64 / answers.len() as f64;
    counts.values().map(share).map(|share| -share * share.ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str, first: u32) -> Answer {
        Answer { text: text.into(), tokens: vec![first, 0], ..Answer::default() }
    }

    #[test]
    fn variety_counts_answers_and_first_tokens() {
        let answers = [answer("a", 1), answer("a", 1), answer("b", 2), answer("c", 2)];
        assert_eq!(distinct_share(&answers), 0.75);
        assert!((first_token_entropy(&answers) - 2.0f64.ln()).abs() < 1e-12);
        assert_eq!(first_token_entropy(&answers[..2]), 0.0);
        assert_eq!((distinct_share(&[]), first_token_entropy(&[])), (0.0, 0.0));
    }
}
