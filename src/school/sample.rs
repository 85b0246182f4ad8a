//! What is learnt of a round: right answers, each exercise once; as many that nobody checked; as
//! many true ones.

use std::collections::BTreeMap;

use super::answers::Pupil;
use super::{Exercise, SchoolError, SchoolSettings};
use crate::batch::{Answer, FinishReason};
use crate::forward::sampling::Key;
use crate::model::Adapter;
use crate::names::number_of;
use crate::training::Sequence;

/// What a model said to an exercise.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SampledAnswer {
    /// The tokens, with the one that ended it.
    pub tokens: Vec<u32>,
    /// Whether the checker takes it. One that had to be cut off is not taken.
    pub is_right: bool,
}

/// The answers of a round, by exercise.
pub(super) struct Samples {
    of: Vec<Vec<SampledAnswer>>,
}

impl Samples {
    /// Draws them.
    pub fn draw(
        pupil: &Pupil<'_>,
        adapter: Option<&Adapter>,
        pool: &[Exercise],
        (settings, round): (&SchoolSettings, u32),
    ) -> Result<Self, SchoolError> {
        pupil.progress.begins("answers to learn from", pool.len());
        let mut engine = pupil.engine(adapter)?;
        let stream = format!("school.{round}");
        let answers = pupil.drawn(&mut engine, pool, (settings, &stream))?;
        let of = |(exercise, answers): (&Exercise, Vec<Answer>)| {
            answers.into_iter().map(|answer| sampled(exercise, answer)).collect()
        };
        Ok(Self { of: pool.iter().zip(answers).map(of).collect() })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.of.iter().map(Vec::len).sum()
    }

    /// How many are right.
    pub fn right(&self) -> usize {
        self.of.iter().flatten().filter(|answer| answer.is_right).count()
    }

    /// Exercises of which every answer is right.
    pub fn easy(&self) -> usize {
        let is_easy = |answers: &&Vec<SampledAnswer>| {
            !answers.is_empty() && answers.iter().all(|answer| answer.is_right)
        };
        self.of.iter().filter(is_easy).count()
    }

    /// One right answer of each exercise that has one: however often the same is said, and however
    /// easy the exercise, it counts once.
    pub fn verified(&self) -> BTreeMap<usize, Vec<u32>> {
        let of = |(at, answers): (usize, &Vec<SampledAnswer>)| {
            let right = answers.iter().find(|answer| answer.is_right)?;
            Some((at, right.tokens.clone()))
        };
        self.of.iter().enumerate().filter_map(of).collect()
    }

    /// The first answer of so many exercises, whatever it is worth, in an order of the seed's.
    pub fn unchecked(&self, count: usize, seed: u64) -> BTreeMap<usize, Vec<u32>> {
        let said =
            |at: &usize| self.of[*at].first().is_some_and(|answer| !answer.tokens.is_empty());
        let order = order(self.of.len(), seed).into_iter().filter(said).take(count);
        order.map(|at| (at, self.of[at][0].tokens.clone())).collect()
    }

    /// The token that ends most right answers: the true ones are written to end so too.
    pub fn ending(&self) -> Option<u32> {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        let right = self.of.iter().flatten().filter(|answer| answer.is_right);
        for last in right.filter_map(|answer| answer.tokens.last()) {
            *counts.entry(*last).or_default() += 1;
        }
        counts.into_iter().max_by_key(|&(token, count)| (count, token)).map(|(token, _)| token)
    }
}

fn sampled(exercise: &Exercise, answer: Answer) -> SampledAnswer {
    let is_whole = answer.finish == FinishReason::Stop;
    let is_right = is_whole && exercise.check.is_right(&answer.text, &exercise.answer);
    SampledAnswer { tokens: answer.tokens, is_right }
}

/// The true answers of so many exercises, in an order of the seed's.
pub(super) fn true_answers(
    pool: &[Exercise],
    count: usize,
    (ending, seed): (Option<u32>, u64),
) -> BTreeMap<usize, Vec<u32>> {
    let of = |at: usize| {
        let mut tokens = pool[at].answer_tokens.clone();
        tokens.extend(ending);
        (at, tokens)
    };
    order(pool.len(), seed).into_iter().take(count).map(of).collect()
}

/// Answers as what is learnt: the answer alone.
pub(super) fn lines(pool: &[Exercise], answers: &BTreeMap<usize, Vec<u32>>) -> Vec<Sequence> {
    let line = |(&at, answer): (&usize, &Vec<u32>)| {
        let prompt = &pool[at].tokens;
        let tokens = prompt.iter().chain(answer).copied().collect();
        Sequence::from_first_target(tokens, prompt.len())
    };
    answers.iter().map(line).collect()
}

/// Exercises by the words of the stream `school.order`, the earlier first where two are equal.
fn order(count: usize, seed: u64) -> Vec<usize> {
    let key = Key::new(seed, number_of("school.order"));
    let word = |at: usize| key.noise(0, (at / 4) as u32)[at % 4];
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_cached_key(|&at| (word(at), at));
    order
}
