//! Work on how the model computes: speeds, and the coordinator against one token at a time.

use std::time::{Duration, Instant};

use super::{Report, Result, WorkError, Workshop};
use crate::passes::reference::{Column, Controls, CpuModel, KvCache};
use crate::tokens::request::Defaults;
use crate::tokens::{
    Answer, Ask, Batch, Engine, Failure, Profile, Progress, Prompt, Report as RunReport, SamplingParams,
    TextModel, run,
};

/// Tokens whose time is taken.
const TIMED: u32 = 32;

/// One greedy answer, token by token, with the clock of each kernel.
fn timed_answer(shop: &Workshop<'_>) -> Result<(Profile, Duration)> {
    let mut engine = shop.engine(1, 2 * TIMED as usize)?;
    let mut sum = Profile::default();
    let mut plain = Duration::ZERO;
    let first = shop.text.tokenizer().first_token().unwrap_or(0);
    let count = TIMED.min(shop.model.config().context_length);
    // Twice: once for the whole, since the clock of the kernels costs time itself.
    for timed in [false, true] {
        let mut token = first;
        for position in 0..count {
            shop.check_cancelled()?;
            let batch = Batch {
                columns: vec![crate::tokens::Column { token, slot: 0, position }],
                asks: vec![Ask::greedy(0)],
                repeats: 1,
                ..Batch::default()
            };
            if timed {
                if let Some(profile) = engine.profile(&batch)? {
                    sum.add(&profile);
                }
            } else {
                let start = Instant::now();
                let answers = engine.step(&batch)?;
                plain += start.elapsed();
                token =
                    answers.first().and_then(|answer| answer.first()).map_or(first, |answer| answer.token);
            }
        }
    }
    Ok((sum, plain / count.max(1)))
}

pub(super) fn bench_kernels(shop: &Workshop<'_>) -> Result<Report> {
    let (profile, per_token) = timed_answer(shop)?;
    let passes = f64::from(profile.passes.max(1));
    let speed = 1.0 / per_token.as_secs_f64().max(1e-9);
    let mut report = Report::default().with("tokens_per_second", speed);
    let mut slowest = ("", 0.0);
    for stage in &profile.stages {
        let micros = stage.time.as_secs_f64() * 1e6 / passes;
        report = report.with(&format!("{}_us", stage.name), micros);
        if stage.weight_bytes > 0 {
            let rate = stage.weight_bytes as f64 / stage.time.as_secs_f64().max(1e-9) / 1e9;
            report = report.with(&format!("{}_gb_per_second", stage.name), rate);
        }
        if micros > slowest.1 {
            slowest = (stage.name, micros);
        }
    }
    report.summary =
        format!("{speed:.0} tokens/s on the processor; most time in {} ({:.0} us)", slowest.0, slowest.1);
    Ok(report)
}

pub(super) fn bench_answers(shop: &Workshop<'_>) -> Result<Report> {
    let (_, per_token) = timed_answer(shop)?;
    let speed = 1.0 / per_token.as_secs_f64().max(1e-9);
    Ok(Report::new(format!("{speed:.0} tokens/s, one answer at a time")).with("tokens_per_second", speed))
}

/// Answers requests greedily, several at once.
pub(super) fn answers(
    shop: &Workshop<'_>,
    prompts: &[String],
    slots: usize,
    defaults: &Defaults,
) -> Result<Vec<Answer>> {
    let requests: Vec<_> =
        (0..).zip(prompts).map(|(n, prompt): (u32, _)| defaults.request(n.to_string(), prompt)).collect();
    let context = shop.model.config().context_length as usize;
    let mut engine = shop.engine(slots, context)?;
    let mut progress = Progress::new(requests.len() as u64, 0);
    let mut found: Vec<Option<Result<Answer, Failure>>> = vec![None; requests.len()];
    let outcome =
        run(&mut engine, &shop.text, requests.into_iter().map(Ok), &mut progress, shop.cancel, |report| {
            if let RunReport::Finished { number, outcome, .. } = report
                && let Some(place) = found.get_mut(number as usize)
            {
                *place = Some(outcome.clone());
            }
            Ok(())
        });
    outcome.map_err(WorkError::other)?;
    shop.check_cancelled()?;
    let whole = found.into_iter().map(|answer| match answer {
        Some(answer) => answer.map_err(WorkError::other),
        None => Err(WorkError::Cancelled),
    });
    whole.collect()
}

/// Nearer than this, in nats, two tokens are equally right: rounding decides.
const MARGIN: f32 = 0.05;

pub(super) fn check_coordinator(shop: &Workshop<'_>) -> Result<Report> {
    const SHARED: &str = "Once upon a time, on the map, there was a little ";
    let endings = ["bird", "robot", "fox", "hedgehog named Tidex", "owl. Her", "lamp", "river", "map of"];
    let prompts: Vec<String> = endings.iter().map(|ending| format!("{SHARED}{ending}")).collect();
    let defaults = Defaults {
        sampling: SamplingParams::greedy(),
        max_tokens: 24,
        logprobs: Some(0),
        ..Defaults::default()
    };
    let answers = answers(shop, &prompts, 3, &defaults)?;
    let model = shop.cpu_model()?;
    let (mut wrong, mut tokens, mut worst) = (0_u32, 0_u32, 0.0_f32);
    for (prompt, answer) in prompts.iter().zip(&answers) {
        shop.check_cancelled()?;
        let found = compare(shop, &model, prompt, answer)?;
        wrong += found.0;
        tokens += found.1;
        worst = worst.max(found.2);
    }
    let shared: u32 = answers.iter().map(|answer| answer.shared_tokens).sum();
    let summary = format!(
        "{} answers, 3 at once: {} of {tokens} tokens are the oracle's, {shared} prompt tokens were shared",
        answers.len(),
        tokens - wrong
    );
    let report = Report::new(summary).with("wrong_tokens", wrong.into()).with("tokens", tokens.into());
    Ok(report.with("max_logprob_error", worst.into()).with("shared_tokens", shared.into()))
}

/// Wrong tokens, tokens, and the largest error of a log-probability of one answer against one token at a time.
fn compare(shop: &Workshop<'_>, model: &CpuModel, prompt: &str, answer: &Answer) -> Result<(u32, u32, f32)> {
    let ids = shop.text.encode(&Prompt::Text(prompt.into()))?;
    let scored = answer.logprobs.as_deref().unwrap_or_default();
    let mut cache = KvCache::new(model.config(), 1, ids.len() + scored.len() + 1);
    let mut position = 0;
    let mut step = |token: u32| -> Result<Vec<f32>> {
        let column = Column { token, slot: 0, position, wants_logits: true };
        position += 1;
        let logits = model.forward(&mut cache, &[column], &Controls::default(), None)?;
        Ok(log_softmax(logits.last().unwrap_or_default()))
    };
    let mut row = Vec::new();
    for &token in &ids {
        row = step(token)?;
    }
    let (mut wrong, mut worst) = (0, 0.0_f32);
    for said in scored {
        let named = (0..row.len()).filter(|&token| shop.text.token_bytes(token as u32) == said.bytes);
        let best = row.iter().copied().fold(f32::MIN, f32::max);
        let Some(token) = named.max_by(|&a, &b| row[a].total_cmp(&row[b])) else {
            wrong += 1;
            break;
        };
        if best - row[token] > MARGIN {
            wrong += 1;
        }
        worst = worst.max((row[token] - said.logprob).abs());
        row = step(token as u32)?;
    }
    Ok((wrong, scored.len() as u32, worst))
}

fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
    let shift = most + sum.ln() as f32;
    logits.iter().map(|logit| logit - shift).collect()
}
