//! The same prompt answered twice, before a change of the model and after it, and where the two
//! answers part. What is before is the model as its file says, where somebody asks for both, or the
//! answer that was there when the model was changed.

use std::sync::Arc;

use bevy::prelude::*;

use super::{Differences, Edits};
use crate::world::layout::Atlas;
use crate::world::think::{Answer, Asked, GeneratedToken, Generation, ModelState};

/// How far a comparison is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ComparisonStage {
    /// None was asked for.
    #[default]
    Idle,
    /// It waits for an answer that is under way.
    Waiting,
    /// The model answers as its file says.
    Without,
    /// It answers as it was changed.
    With,
    /// Both answers are there.
    Done,
}

/// Both answers to a prompt.
#[derive(Resource, Debug, Clone, Default)]
pub struct Comparison {
    /// How far it is.
    pub stage: ComparisonStage,
    /// The prompt, and how it is answered.
    pub asked: Option<Asked>,
    /// The answer before.
    pub without: Answer,
    /// The answer as the model was changed.
    pub with: Answer,
    /// What each answer was computed with: before, and as changed.
    pub states: [Arc<ModelState>; 2],
    /// How probable the tokens of the answer before are as the model was changed, and the one that
    /// ended it: as long as both answers have the same text before them.
    pub expected: Vec<f32>,
    /// What went wrong, in words.
    pub problem: Option<String>,
    /// How much what heads and fields give differs, token by token.
    pub differences: Differences,
    /// The number of the sequence that is the second answer.
    pub(super) generation: u64,
    /// Whether it follows a change: both answers are of the window's own prompt.
    pub follows_change: bool,
    /// The prompt's tokens: whoever asks something else meanwhile ends the comparison.
    pub(super) prompt: Vec<u32>,
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonSide {
    /// The token's text, as it is decoded.
    pub text: String,
    /// How probable it was.
    pub probability: f32,
}

/// One place of both answers.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonRow {
    /// Before; none where that answer has ended.
    pub without: Option<ComparisonSide>,
    /// As it was changed.
    pub with: Option<ComparisonSide>,
    /// Whether both have the same token here.
    pub same: bool,
    /// What the changed model gives to the first answer's token, less what the model before gave;
    /// `None` where the texts before differ already.
    pub difference: Option<f32>,
}

impl Comparison {
    /// Begins one; it runs once an answer that is under way has ended.
    pub fn start(&mut self, asked: Asked) {
        *self = Self { stage: ComparisonStage::Waiting, asked: Some(asked), ..Self::default() };
    }

    /// Whether it is under way.
    pub fn is_running(&self) -> bool {
        !matches!(self.stage, ComparisonStage::Idle | ComparisonStage::Done)
    }

    /// Begins with an answer that is there: the same prompt is answered again, as the model is now.
    pub(super) fn follow(
        &mut self,
        mind: &mut Generation,
        atlas: &Atlas,
        (without, differences): (Answer, Differences),
    ) {
        let (Some(asked), Some(first)) = (mind.asked().cloned(), without.tokens.first()) else {
            return;
        };
        let states = [Arc::clone(&first.state), Arc::clone(mind.current_state())];
        *self = Self {
            asked: Some(asked),
            without,
            differences,
            states,
            follows_change: true,
            ..Self::default()
        };
        self.ask_with(mind, atlas);
    }

    /// Asks for the second answer.
    fn ask_with(&mut self, mind: &mut Generation, atlas: &Atlas) {
        let Some(asked) = self.asked.clone() else { return };
        let end = self.without.end.map(|(token, _)| token);
        let expected = self.without.tokens.iter().map(|token| token.token).chain(end).collect();
        mind.begin(atlas.model(), asked, expected);
        self.prompt = prompt_of(mind);
        self.generation = mind.generation();
        self.stage = ComparisonStage::With;
    }

    /// Whether the answer that is on the screen is the second one.
    pub fn is_of(&self, mind: &Generation) -> bool {
        self.stage == ComparisonStage::Done && self.generation == mind.generation()
    }

    /// The place of both answers that is told of: the first fork, or where a probability moved
    /// most. None where nothing differs.
    pub(super) fn told(rows: &[ComparisonRow]) -> Option<usize> {
        let size = |at: &usize| rows[*at].difference.unwrap_or_default().abs();
        rows.iter().position(|row| !row.same).or_else(|| {
            let largest = (0..rows.len()).max_by(|a, b| size(a).total_cmp(&size(b)));
            largest.filter(|at| size(at) > 0.0)
        })
    }

    /// The token whose differences are shown: the one that is looked at, where both answers share
    /// it, and else the one before what is told of, from whose step that came.
    pub fn place(&self, looked_at: Option<usize>) -> Option<usize> {
        let last = self.differences.at.len().checked_sub(1)?;
        let told = Self::told(&self.rows()).map(|at| (self.prompt.len() + at).saturating_sub(1));
        Some(looked_at.filter(|&at| at <= last).unwrap_or(told.unwrap_or(last).min(last)))
    }

    /// How probable a token of the answer before is now. Those that an answer begins with, since
    /// somebody chose another token after them, are given and not weighed.
    pub(super) fn expected_at(&self, at: usize) -> Option<f32> {
        let given = self.asked.as_ref().map_or(0, |asked| asked.opening.len());
        self.expected.get(at.checked_sub(given)?).copied()
    }

    /// Both answers, place by place; of an answer that the model did not end itself, as far as it
    /// came: nobody knows what it would have said next.
    pub fn rows(&self) -> Vec<ComparisonRow> {
        let (without, with) = (&self.without.tokens, &self.with.tokens);
        let has_ended = self.without.end.is_some();
        let places = if has_ended { without.len().max(with.len()) } else { without.len() };
        let side = |thought: &GeneratedToken| ComparisonSide {
            text: thought.text.clone(),
            probability: thought.probability.unwrap_or_default(),
        };
        (0..places)
            .map(|at| {
                let (before, now) = (without.get(at), with.get(at));
                let token = |side: Option<&GeneratedToken>| side.map(|thought| thought.token);
                let probability = before.and_then(|before| before.probability);
                let difference = self.expected_at(at).zip(probability);
                ComparisonRow {
                    without: before.map(side),
                    with: now.map(side),
                    same: before.is_some() && token(before) == token(now),
                    difference: difference.map(|(now, before)| now - before),
                }
            })
            .collect()
    }

    fn fail(&mut self, problem: String) {
        (self.stage, self.problem) = (ComparisonStage::Done, Some(problem));
    }
}

/// Takes a comparison a step further.
pub(super) fn drive(
    atlas: Res<Atlas>,
    mut edits: ResMut<Edits>,
    mut mind: ResMut<Generation>,
    mut comparison: ResMut<Comparison>,
) {
    if !comparison.is_running() {
        return;
    }
    // While it waits, a problem is that of the answer before.
    if comparison.stage != ComparisonStage::Waiting
        && let Some(problem) = mind.problem.clone()
    {
        // Else the map and all later answers would stay as the file says.
        edits.bypassed = false;
        comparison.fail(problem);
        return;
    }
    if comparison.stage != ComparisonStage::Waiting && prompt_of(&mind) != comparison.prompt {
        edits.bypassed = false;
        if comparison.follows_change {
            // Nobody asked for it: what is asked now is what matters.
            *comparison = Comparison::default();
        } else {
            comparison.fail("something else was asked meanwhile".into());
        }
        return;
    }
    if !comparison.follows_change {
        // A paused answer would never end, and both have to.
        mind.paused = false;
    }
    if comparison.stage == ComparisonStage::With {
        comparison.differences.follow(&mind, atlas.model().config());
    }
    if mind.is_busy() {
        return;
    }
    match comparison.stage {
        ComparisonStage::Waiting => {
            // It reaches the device in `WorldSystems::Move` of this frame, before a step is taken.
            edits.bypassed = true;
            if let Some(asked) = comparison.asked.clone() {
                mind.begin(atlas.model(), asked, Vec::new());
            }
            comparison.prompt = prompt_of(&mind);
            comparison.stage = ComparisonStage::Without;
        }
        ComparisonStage::Without => {
            comparison.without = mind.answer_so_far();
            comparison.differences = Differences::remember(&mind);
            edits.bypassed = false;
            comparison.ask_with(&mut mind, &atlas);
        }
        _ => {
            comparison.with = mind.answer_so_far();
            comparison.differences.close();
            comparison.expected.clone_from(&mind.expected);
            let first = |answer: &Answer| answer.tokens.first().map(|token| &token.state).cloned();
            let states = [first(&comparison.without), first(&comparison.with)];
            for (state, known) in states.into_iter().zip(&mut comparison.states) {
                state.into_iter().for_each(|state| *known = state);
            }
            comparison.stage = ComparisonStage::Done;
        }
    }
}

fn prompt_of(mind: &Generation) -> Vec<u32> {
    mind.thoughts.iter().take(mind.prompt_len).map(|thought| thought.token).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An answer of tokens with their probabilities.
    pub(in crate::world::lab) fn answer(tokens: &[(u32, f32)]) -> Answer {
        let thought = |&(token, probability): &(u32, f32)| GeneratedToken {
            token,
            text: format!(" t{token}"),
            probability: Some(probability),
            ..GeneratedToken::default()
        };
        let end = Some((0, 0.5));
        Answer { tokens: tokens.iter().map(thought).collect(), end, is_whole: true }
    }

    #[test]
    fn differences_are_told_until_the_texts_part_and_no_further() {
        let without = answer(&[(1, 0.5), (2, 0.75), (3, 0.5)]);
        let with = answer(&[(1, 0.25), (4, 0.5), (3, 0.9)]);
        let both = Comparison { without, with, expected: vec![0.25, 0.25], ..default() };
        let same: Vec<bool> = both.rows().iter().map(|row| row.same).collect();
        assert_eq!(same, [true, false, true]);
        let differences: Vec<Option<f32>> = both.rows().iter().map(|row| row.difference).collect();
        assert_eq!(differences, [Some(-0.25), Some(-0.5), None]);
    }

    #[test]
    fn an_answer_that_ends_early_has_no_token_there_and_one_that_was_broken_off_no_place() {
        let mut both = Comparison { without: answer(&[(1, 0.5)]), ..default() };
        let rows = both.rows();
        assert_eq!(rows.len(), 1);
        assert!(rows[0].with.is_none() && !rows[0].same && rows[0].difference.is_none());
        both.with = answer(&[(1, 0.5), (2, 0.5)]);
        assert!(both.rows().len() == 2 && !both.rows()[1].same);
        both.without.end = None;
        assert!(both.rows().len() == 1 && both.rows()[0].same, "nobody knows what came next");
    }
}
