//! One cell of an experiment: the requests it takes, what is measured, and its line.

use serde::Serialize;

use super::job::JobError;
use super::{BASELINE, Condition, Experiment, HeadPlace, Trial};
use crate::batch::request::Defaults;
use crate::batch::{Answer, ModelText, Prompt, Request, TextModel};
use crate::forward::sampling::SamplingParams;

/// The requests of all prompts, which are the same under every condition.
pub(crate) struct RequestPlan {
    /// All requests, in the order of their answers.
    pub requests: Vec<Request>,
    /// The prompts, and which requests are theirs.
    pub trials: Vec<PlannedTrial>,
    /// Positions of the longest request with its answer.
    pub longest: u32,
}

/// A prompt in tokens.
pub(crate) struct PlannedTrial {
    /// What result lines call it.
    pub id: String,
    /// The request that goes on from the prompt.
    text: usize,
    /// Requests that score what may come after it, and how many of their last tokens count.
    target: Option<(usize, usize)>,
    foil: Option<(usize, usize)>,
    /// How many of the prompt's last tokens are a repetition.
    repeated: Option<usize>,
}

/// What one prompt came to under one condition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measurement {
    /// Why there is nothing.
    pub error: Option<String>,
    text: String,
    /// The most probable next tokens and their log-probabilities.
    top: Vec<(Vec<u8>, f32)>,
    target: Option<f32>,
    foil: Option<f32>,
    copy: Option<f32>,
}

impl Measurement {
    /// How far the measure that says most is from that of the unchanged model: the copy score, else
    /// the logit difference, else the target.
    pub fn difference(&self, baseline: &Self) -> Option<f32> {
        let between = |of: &Self| of.target.zip(of.foil).map(|(target, foil)| target - foil);
        let of = |now: Option<f32>, before: Option<f32>| {
            now.zip(before).map(|(now, before)| now - before)
        };
        of(self.copy, baseline.copy)
            .or_else(|| of(between(self), between(baseline)))
            .or_else(|| of(self.target, baseline.target))
    }
}

impl RequestPlan {
    /// The requests of an experiment for a model of `vocab` tokens.
    pub fn new(experiment: &Experiment, model: &ModelText, vocab: u32) -> Result<Self, JobError> {
        let mut plan = Self { requests: Vec::new(), trials: Vec::new(), longest: 1 };
        let sampling = SamplingParams::greedy();
        for trial in &experiment.prompts {
            let tokens = match trial {
                Trial::Text { text, .. } => model.encode(&Prompt::Text(text.clone()))?,
                Trial::Repeated { tokens, seed, .. } => repeated(model, *tokens, *seed, vocab)?,
            };
            let mut request = |tokens: Vec<u32>, max_tokens: u32, scored: usize| {
                let length =
                    u32::try_from(tokens.len()).unwrap_or(u32::MAX).saturating_add(max_tokens);
                plan.longest = plan.longest.max(length);
                let defaults = Defaults {
                    sampling: sampling.clone(),
                    max_tokens,
                    logprobs: (max_tokens > 0).then_some(experiment.top),
                    prompt_logprobs: (scored > 0).then_some(0),
                    ..Defaults::default()
                };
                let id = format!("{}", plan.requests.len());
                plan.requests
                    .push(Request { prompt: Prompt::Tokens(tokens), ..defaults.request(id, "") });
                plan.requests.len() - 1
            };
            let repeated = match trial {
                Trial::Repeated { tokens, .. } => Some(*tokens as usize),
                Trial::Text { .. } => None,
            };
            // Without an answer the next token is still looked at.
            let text = request(tokens.clone(), experiment.max_tokens.max(1), repeated.unwrap_or(0));
            let mut score = |after: &Option<String>| -> Result<Option<(usize, usize)>, JobError> {
                let (Some(after), Trial::Text { text, .. }) = (after, trial) else {
                    return Ok(None);
                };
                // Tokenised with the text: what comes after a space is another token than what
                // begins a text.
                let whole = model.encode(&Prompt::Text(format!("{text}{after}")))?;
                // The end of the text may be another token together with what comes after: from
                // there on all counts.
                let shared = whole.iter().zip(&tokens).take_while(|(a, b)| a == b).count();
                let counted = whole.len().saturating_sub(shared);
                Ok((counted > 0).then(|| (request(whole, 0, counted), counted)))
            };
            let (target, foil) = match trial {
                Trial::Text { target, foil, .. } => (score(target)?, score(foil)?),
                Trial::Repeated { .. } => (None, None),
            };
            plan.trials.push(PlannedTrial { id: trial.id().into(), text, target, foil, repeated });
        }
        Ok(plan)
    }

    /// What the answers to all requests come to.
    pub(crate) fn measure(&self, answers: &[Result<Answer, String>]) -> Vec<Measurement> {
        let one = |trial: &PlannedTrial| -> Result<Measurement, String> {
            let answer = answers[trial.text].as_ref().map_err(Clone::clone)?;
            let first = answer.logprobs.as_deref().and_then(<[_]>::first);
            let score = |scored: Option<(usize, usize)>| -> Result<Option<f32>, String> {
                let Some((request, counted)) = scored else { return Ok(None) };
                Ok(last_logprobs(answers[request].as_ref().map_err(Clone::clone)?, counted)
                    .map(|values| values.iter().sum()))
            };
            let mean = |values: Vec<f32>| values.iter().sum::<f32>() / values.len().max(1) as f32;
            Ok(Measurement {
                error: None,
                text: answer.text.clone(),
                top: first.map(|token| token.top.clone()).unwrap_or_default(),
                target: score(trial.target)?,
                foil: score(trial.foil)?,
                copy: trial.repeated.and_then(|counted| last_logprobs(answer, counted)).map(mean),
            })
        };
        let failed = |error| Measurement { error: Some(error), ..Measurement::default() };
        self.trials.iter().map(|trial| one(trial).unwrap_or_else(failed)).collect()
    }
}

/// The log-probabilities of the last tokens of a prompt.
fn last_logprobs(answer: &Answer, count: usize) -> Option<Vec<f32>> {
    let scored = answer.prompt_logprobs.as_ref()?;
    let last = scored.get(scored.len().checked_sub(count)?..)?;
    Some(last.iter().flatten().map(|token| token.logprob).collect())
}

/// Random tokens twice, after the model's own first token where it wants one.
fn repeated(model: &ModelText, count: u32, seed: u64, vocab: u32) -> Result<Vec<u32>, JobError> {
    // SplitMix64 (Steele, Lea and Flood 2014): the same seed gives the same tokens in every
    // version.
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut once = Vec::new();
    // Tokens without text, such as those that begin and end a sequence, would be no plain text to
    // the model.
    let mut tries = 0_u32;
    while once.len() < count as usize {
        // Below `vocab`, which has 32 bits.
        let token = (random() % u64::from(vocab.max(1))) as u32;
        tries += 1;
        // A vocabulary with hardly any text would keep this going for ever.
        if tries >= count.saturating_mul(1000) {
            return Err(JobError::FewTokens);
        }
        if !model.is_end(token) && !model.token_bytes(token).is_empty() {
            once.push(token);
        }
    }
    let mut tokens: Vec<u32> = model.tokenizer().first_token().into_iter().collect();
    tokens.extend(once.iter().chain(&once));
    Ok(tokens)
}

#[derive(Serialize)]
struct CellLine<'a> {
    cell: String,
    experiment: &'a str,
    model: &'a str,
    prompt: &'a str,
    condition: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    heads: &'a [HeadPlace],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    layers: &'a [u32],
    scale: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    text: &'a str,
    text_changed: bool,
    next: Vec<Next>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logit_difference: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    copy_score: Option<Score>,
}

/// A token that may come next, with its log-probability and that in the unchanged model; none where
/// it is not among the most probable.
#[derive(Serialize)]
struct Next {
    token: String,
    logprob: Option<f32>,
    baseline: Option<f32>,
    difference: Option<f32>,
}

/// A measure, and how far it is from that of the unchanged model.
#[derive(Serialize)]
struct Score {
    value: f32,
    baseline: f32,
    difference: f32,
}

fn score(value: Option<f32>, baseline: Option<f32>) -> Option<Score> {
    let (value, baseline) = (value?, baseline?);
    Some(Score { value, baseline, difference: value - baseline })
}

/// What tells a cell from all others of a file.
pub(crate) fn cell_id(experiment: &str, prompt: &str, condition: &str) -> String {
    format!("{experiment}/{prompt}/{condition}")
}

/// The line of a cell.
pub fn line(
    experiment: &str,
    model: &str,
    trial: &PlannedTrial,
    condition: &Condition,
    measured: &Measurement,
    baseline: &Measurement,
) -> String {
    let find = |top: &[(Vec<u8>, f32)], bytes: &[u8]| {
        top.iter().find(|(known, _)| known == bytes).map(|(_, value)| *value)
    };
    let entered = measured.top.iter().filter(|(bytes, _)| find(&baseline.top, bytes).is_none());
    let next = baseline.top.iter().chain(entered).map(|(bytes, _)| {
        let (now, before) = (find(&measured.top, bytes), find(&baseline.top, bytes));
        Next {
            token: String::from_utf8_lossy(bytes).into_owned(),
            logprob: now,
            baseline: before,
            difference: now.zip(before).map(|(now, before)| now - before),
        }
    });
    // Softmax takes the same from both logits, so the difference of log-probabilities is that of
    // the logits.
    let between = |of: &Measurement| of.target.zip(of.foil).map(|(target, foil)| target - foil);
    let line = CellLine {
        cell: cell_id(experiment, &trial.id, &condition.id),
        experiment,
        model,
        prompt: &trial.id,
        condition: &condition.id,
        heads: &condition.heads,
        layers: &condition.layers,
        scale: if condition.id == BASELINE { 1.0 } else { condition.scale },
        error: measured.error.as_deref(),
        text: &measured.text,
        text_changed: measured.text != baseline.text,
        next: next.collect(),
        target: score(measured.target, baseline.target),
        logit_difference: score(between(measured), between(baseline)),
        copy_score: score(measured.copy, baseline.copy),
    };
    serde_json::to_string(&line).expect("a line has text keys and finite numbers only") + "\n"
}
