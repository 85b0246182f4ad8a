//! What is timed, on any engine: prompts, and answers one token after the other.

use std::time::{Duration, Instant};

use crate::engine::{Batch, Column, Engine, EngineError, EngineProfile, LogitsQuery, PrefixCopy};

/// What is to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BenchPlan {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens that are made for each answer.
    pub tokens: usize,
    /// How often each figure is taken.
    pub repetitions: usize,
    /// How many answers are made at once.
    pub parallel: Vec<usize>,
}

impl BenchPlan {
    /// How many answers are made at once at most.
    pub fn slots(&self) -> usize {
        self.parallel.iter().copied().max().unwrap_or(1).max(1)
    }

    /// Positions that an answer needs: the prompt, one token before the clock starts, and those
    /// that are timed.
    pub fn context(&self) -> usize {
        self.prompt + 1 + self.tokens + 1
    }

    /// How often [`measure`] tells that something is done.
    pub fn steps(&self) -> u64 {
        // One repetition more, which is not counted, and one for the profiles.
        ((1 + self.repetitions) * (1 + self.parallel.len()) + 1) as u64
    }
}

/// What was measured, in tokens per second.
#[derive(Clone, Debug, Default)]
pub struct Throughput {
    /// Of the prompt, in each repetition.
    pub prefill: Vec<f64>,
    /// Of all answers together, for each number of answers in each repetition.
    pub decode: Vec<Vec<f64>>,
    /// Where the time goes; `None` where the engine cannot tell.
    pub profiles: Option<Profiles>,
}

/// Where the time of each kind of pass goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profiles {
    /// Of one token of one answer.
    pub decode: EngineProfile,
    /// Of one token each of the most answers at once, if these are several.
    pub together: Option<EngineProfile>,
    /// Of as much of the prompt as fits a pass.
    pub prefill: EngineProfile,
}

/// Measures all of it. `done` is called after each part.
///
/// # Errors
/// The engine fails.
pub(crate) fn measure(
    engine: &mut dyn Engine,
    plan: &BenchPlan,
    done: &mut dyn FnMut(),
) -> Result<Throughput, EngineError> {
    let prompt = prompt(plan.prompt, engine.capacity().vocab);
    let mut measured =
        Throughput { decode: vec![Vec::new(); plan.parallel.len()], ..Throughput::default() };
    for repetition in 0..=plan.repetitions {
        // The first repetition brings pages and caches in and is not counted.
        let counts = repetition > 0;
        let (time, first) = prefill(engine, &prompt)?;
        done();
        if counts {
            measured.prefill.push(per_second(plan.prompt, time));
        }
        for (index, &answers) in plan.parallel.iter().enumerate() {
            let time = decode(engine, plan, answers, first)?;
            done();
            if counts {
                measured.decode[index].push(per_second(plan.tokens * answers, time));
            }
        }
    }
    measured.profiles = profiles(engine, plan, &prompt)?;
    done();
    Ok(measured)
}

/// The time from nothing to a token: one token goes in, one comes out.
///
/// # Errors
/// The engine fails.
pub fn first_token(engine: &mut dyn Engine) -> Result<Duration, EngineError> {
    let prompt = prompt(1, engine.capacity().vocab);
    prefill(engine, &prompt).map(|(time, _)| time)
}

/// Tokens that follow one another in no order: a prompt's speed does not depend on what it says.
fn prompt(len: usize, vocab: usize) -> Vec<u32> {
    // A prime: no token comes twice before all have come, for nearly every vocabulary.
    const STEP: usize = 7919;
    (0..len).map(|index| (index * STEP % vocab.max(1)) as u32).collect()
}

/// Runs a prompt in slot 0; the token drawn after it.
fn prefill(engine: &mut dyn Engine, prompt: &[u32]) -> Result<(Duration, u32), EngineError> {
    let start = Instant::now();
    let mut drawn = 0;
    for batch in prompt_batches(prompt, engine.capacity().columns) {
        if let Some(token) = last_tokens(&engine.step(&batch)?, &batch)?.first() {
            drawn = *token;
        }
    }
    Ok((start.elapsed(), drawn))
}

/// The passes of a prompt, the last of which draws a token.
fn prompt_batches(prompt: &[u32], columns: usize) -> Vec<Batch> {
    let columns = columns.max(1);
    let piece = |(index, tokens): (usize, &[u32])| {
        let first = index * columns;
        let is_last = first + tokens.len() == prompt.len();
        let column = |(at, &token): (usize, &u32)| column(token, 0, first + at);
        Batch {
            columns: tokens.iter().enumerate().map(column).collect(),
            asks: if is_last {
                vec![LogitsQuery::greedy(tokens.len() as u32 - 1)]
            } else {
                Vec::new()
            },
            steps: 1,
            ..Batch::default()
        }
    };
    prompt.chunks(columns).enumerate().map(piece).collect()
}

/// Goes on from the prompt in slot 0 with several answers at once; the time of the tokens after
/// their first.
fn decode(
    engine: &mut dyn Engine,
    plan: &BenchPlan,
    answers: usize,
    first: u32,
) -> Result<Duration, EngineError> {
    let mut tokens = start_answers(engine, plan, answers, first)?;
    let steps = engine.capacity().steps.max(1);
    let start = Instant::now();
    let mut made = 0;
    while made < plan.tokens {
        let count = steps.min(plan.tokens - made);
        let batch = answer_batch(&tokens, plan.prompt + 1 + made, count);
        tokens = last_tokens(&engine.step(&batch)?, &batch)?;
        made += count;
    }
    Ok(start.elapsed())
}

/// Copies the prompt to the other slots and makes each answer's first token.
fn start_answers(
    engine: &mut dyn Engine,
    plan: &BenchPlan,
    answers: usize,
    first: u32,
) -> Result<Vec<u32>, EngineError> {
    let copy = |to: usize| PrefixCopy { from: 0, to: to as u32, positions: plan.prompt as u32 };
    let copies = (1..answers).map(copy).collect();
    let batch = Batch { copies, ..answer_batch(&vec![first; answers], plan.prompt, 1) };
    last_tokens(&engine.step(&batch)?, &batch)
}

/// One column and one draw for each answer.
fn answer_batch(tokens: &[u32], position: usize, steps: usize) -> Batch {
    Batch {
        columns: tokens
            .iter()
            .enumerate()
            .map(|(slot, &token)| column(token, slot, position))
            .collect(),
        // Greedy, so that every repetition makes the same tokens.
        asks: (0..tokens.len() as u32).map(LogitsQuery::greedy).collect(),
        steps: steps as u32,
        ..Batch::default()
    }
}

fn column(token: u32, slot: usize, position: usize) -> Column {
    Column { token, slot: slot as u32, position: position as u32 }
}

/// The last token that each ask was answered with.
fn last_tokens(
    answers: &[Vec<crate::engine::Sampled>],
    batch: &Batch,
) -> Result<Vec<u32>, EngineError> {
    let tokens: Vec<u32> =
        answers.iter().filter_map(|answers| answers.last()).map(|last| last.token).collect();
    let (found, expected) = (tokens.len(), batch.asks.len());
    if found == expected { Ok(tokens) } else { Err(EngineError::Answers { found, expected }) }
}

/// Where the time goes; `None` where the engine cannot tell.
fn profiles(
    engine: &mut dyn Engine,
    plan: &BenchPlan,
    prompt: &[u32],
) -> Result<Option<Profiles>, EngineError> {
    let mut profiles = Profiles::default();
    for batch in prompt_batches(prompt, engine.capacity().columns) {
        let Some(profile) = engine.profile(&batch)? else { return Ok(None) };
        profiles.prefill.add(&profile);
    }
    // One token is over too fast to be timed alone, and those after it cost nearly the same. The
    // same tokens go in each time: what they are does not matter.
    let mut decode = |answers: usize| -> Result<EngineProfile, EngineError> {
        let tokens: Vec<u32> = prompt.iter().copied().cycle().take(answers).collect();
        start_answers(engine, plan, answers, tokens[0])?;
        let mut sum = EngineProfile::default();
        for made in 0..plan.tokens {
            let batch = answer_batch(&tokens, plan.prompt + made, 1);
            sum.add(&engine.profile(&batch)?.unwrap_or_default());
        }
        Ok(sum)
    };
    profiles.decode = decode(1)?;
    let most = plan.parallel.iter().copied().max().filter(|&answers| answers > 1);
    profiles.together = most.map(decode).transpose()?;
    Ok(Some(profiles))
}

fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_cut_to_what_a_pass_holds_and_draws_at_its_end() {
        let batches = prompt_batches(&prompt(10, 100), 4);
        let shape: Vec<_> =
            batches.iter().map(|batch| (batch.columns.len(), batch.asks.len())).collect();
        assert_eq!(shape, [(4, 0), (4, 0), (2, 1)]);
        assert_eq!(batches[2].asks[0].column, 1);
        let positions: Vec<u32> =
            batches.iter().flat_map(|b| &b.columns).map(|column| column.position).collect();
        assert_eq!(positions, (0..10).collect::<Vec<_>>());
        assert!(batches.iter().flat_map(|b| &b.columns).all(|column| column.token < 100));
    }

    #[test]
    fn the_plan_has_room_for_all_it_makes() {
        let plan = BenchPlan { prompt: 5, tokens: 3, repetitions: 2, parallel: vec![1, 4] };
        assert_eq!((plan.slots(), plan.context(), plan.steps()), (4, 10, 10));
    }
}
