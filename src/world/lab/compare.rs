//! The same prompt answered twice, as the file says and as the model was changed, and where the two
//! answers part.

use bevy::prelude::*;

use super::Edits;
use crate::world::layout::Atlas;
use crate::world::think::{GeneratedToken, Generation};

/// A prompt that is answered twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// What is asked, as text.
    pub prompt: String,
    /// Whether it is a message in a chat.
    pub chat: bool,
    /// The most tokens of an answer.
    pub tokens: u32,
    /// How freely to choose; both answers draw with the same random numbers.
    pub temperature: f32,
}

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
    /// The answer as the file says.
    pub without: Vec<GeneratedToken>,
    /// The answer as the model was changed.
    pub with: Vec<GeneratedToken>,
    /// What went wrong, in words.
    pub problem: Option<String>,
    /// The prompt's tokens: whoever asks something else meanwhile ends the comparison.
    prompt: Vec<u32>,
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
    /// As the file says; none where that answer has ended.
    pub without: Option<ComparisonSide>,
    /// As it was changed.
    pub with: Option<ComparisonSide>,
    /// Whether both have the same token here.
    pub same: bool,
    /// What the changed model gave to the file's token, less what the file's model gave; `None`
    /// where the texts before differ already, or where that token is not among the likeliest that
    /// are known.
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

    /// Both answers, place by place.
    pub fn rows(&self) -> Vec<ComparisonRow> {
        rows(&self.without, &self.with)
    }

    fn fail(&mut self, problem: String) {
        (self.stage, self.problem) = (ComparisonStage::Done, Some(problem));
    }
}

fn rows(without: &[GeneratedToken], with: &[GeneratedToken]) -> Vec<ComparisonRow> {
    let side = |thought: &GeneratedToken| ComparisonSide {
        text: thought.text.clone(),
        probability: thought.probability.unwrap_or_default(),
    };
    let mut parted = false;
    (0..without.len().max(with.len()))
        .map(|at| {
            let (file, changed) = (without.get(at), with.get(at));
            let same = file.is_some()
                && file.map(|file| file.token) == changed.map(|changed| changed.token);
            // After different texts, probabilities answer different questions.
            let difference = file.zip(changed).filter(|_| !parted).and_then(|(file, changed)| {
                let among = || changed.alternatives.iter().find(|(text, _)| *text == file.text);
                let now = if same {
                    changed.probability
                } else {
                    among().map(|&(_, probability)| probability)
                };
                Some(now? - file.probability?)
            });
            parted |= !same;
            ComparisonRow { without: file.map(side), with: changed.map(side), same, difference }
        })
        .collect()
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
    let Some(asked) = comparison.asked.clone() else {
        comparison.stage = ComparisonStage::Idle;
        return;
    };
    let ask = |mind: &mut Generation| {
        mind.ask(atlas.model(), &asked.prompt, asked.chat, asked.tokens, asked.temperature);
    };
    // A paused answer would never end, and both have to.
    mind.paused = false;
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
        comparison.fail("something else was asked meanwhile".into());
        return;
    }
    if mind.is_busy() {
        return;
    }
    let answer =
        |mind: &Generation| mind.thoughts.get(mind.prompt_len..).unwrap_or_default().to_vec();
    match comparison.stage {
        ComparisonStage::Waiting => {
            // It reaches the device in `WorldSystems::Move` of this frame, before a step is taken.
            edits.bypassed = true;
            ask(&mut mind);
            comparison.prompt = prompt_of(&mind);
            comparison.stage = ComparisonStage::Without;
        }
        ComparisonStage::Without => {
            comparison.without = answer(&mind);
            edits.bypassed = false;
            ask(&mut mind);
            comparison.stage = ComparisonStage::With;
        }
        _ => {
            comparison.with = answer(&mind);
            comparison.stage = ComparisonStage::Done;
        }
    }
}

fn prompt_of(mind: &Generation) -> Vec<u32> {
    mind.thoughts.iter().take(mind.prompt_len).map(|thought| thought.token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thought(token: u32, probability: f32, alternatives: &[(u32, f32)]) -> GeneratedToken {
        let text = |token: u32| format!("t{token}");
        GeneratedToken {
            token,
            text: text(token),
            probability: Some(probability),
            alternatives: alternatives
                .iter()
                .map(|&(token, probability)| (text(token), probability))
                .collect(),
            ..GeneratedToken::default()
        }
    }

    #[test]
    fn differences_are_told_until_the_texts_part_and_no_further() {
        let without = [thought(1, 0.5, &[]), thought(2, 0.75, &[]), thought(3, 0.5, &[])];
        let with =
            [thought(1, 0.25, &[]), thought(4, 0.5, &[(4, 0.5), (2, 0.25)]), thought(3, 0.9, &[])];
        let rows = rows(&without, &with);
        let same: Vec<bool> = rows.iter().map(|row| row.same).collect();
        assert_eq!(same, [true, false, true]);
        let differences: Vec<Option<f32>> = rows.iter().map(|row| row.difference).collect();
        assert_eq!(differences, [Some(-0.25), Some(-0.5), None]);
    }

    #[test]
    fn an_answer_that_ends_early_has_no_token_there() {
        let rows = rows(&[thought(1, 0.5, &[])], &[]);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].with.is_none() && !rows[0].same && rows[0].difference.is_none());
    }
}
