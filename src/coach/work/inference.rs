//! Work on how the model computes: speeds, and the coordinator against one token at a time.

use std::time::{Duration, Instant};

use super::{ModelContext, ProgressListener, TaskReport, WorkError, WorkResult};
use crate::batch::request::Defaults;
use crate::batch::{Answer, Failure, Progress, Prompt, RunReport, TextModel, run};
use crate::engine::{Batch, Engine, EngineProfile, LogitsQuery};
use crate::forward::Interventions;
use crate::forward::cpu::{Column, CpuModel, KvCache};
use crate::forward::sampling::SamplingParams;

/// Tokens whose time is taken.
const TIMED: u32 = 32;

/// One greedy answer, token by token, with the clock of each kernel.
fn timed_answer(
    context: &ModelContext,
    engine: &mut dyn Engine,
) -> WorkResult<(EngineProfile, Duration)> {
    let mut sum = EngineProfile::default();
    let mut plain = Duration::ZERO;
    let first = context.text.tokenizer().first_token().unwrap_or(0);
    let count = TIMED.min(context.model.config().context_length);
    // Twice: once for the whole, since the clock of the kernels costs time itself.
    for timed in [false, true] {
        let mut token = first;
        for position in 0..count {
            context.go_on()?;
            let batch = Batch {
                columns: vec![crate::engine::Column { token, slot: 0, position }],
                asks: vec![LogitsQuery::greedy(0)],
                steps: 1,
                ..Batch::default()
            };
            // Tokens do not matter to the clock: it goes on with the first.
            if timed {
                if let Some(profile) = engine.profile(&batch)? {
                    sum.add(&profile);
                }
            } else {
                let start = Instant::now();
                let answers = engine.step(&batch)?;
                plain += start.elapsed();
                token = answers
                    .first()
                    .and_then(|answer| answer.first())
                    .map_or(first, |answer| answer.token);
            }
        }
    }
    Ok((sum, plain / count.max(1)))
}

/// Adds the speed of each kernel to a report, by names that begin with `prefix`; tokens per second,
/// and the slowest kernel in words.
fn speeds(
    report: &mut TaskReport,
    prefix: &str,
    (profile, per_token): &(EngineProfile, Duration),
) -> (f64, String) {
    let passes = f64::from(profile.passes.max(1));
    let speed = 1.0 / per_token.as_secs_f64().max(1e-9);
    let mut add =
        |name: String, value: f64| report.metrics.insert(format!("{prefix}{name}"), value);
    add("tokens_per_second".into(), speed);
    let mut slowest = ("nothing", 0.0);
    for stage in &profile.stages {
        let micros = stage.time.as_secs_f64() * 1e6 / passes;
        add(format!("{}_us", stage.name), micros);
        if stage.weight_bytes > 0 {
            let rate = stage.weight_bytes as f64 / stage.time.as_secs_f64().max(1e-9) / 1e9;
            add(format!("{}_gb_per_second", stage.name), rate);
        }
        if micros > slowest.1 {
            slowest = (stage.name, micros);
        }
    }
    (speed, format!("{} ({:.0} us)", slowest.0, slowest.1))
}

pub(super) fn bench_kernels(
    context: &ModelContext,
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    progress("on the processor".into());
    let timed = timed_answer(context, &mut context.engine(1, 2 * TIMED as usize)?)?;
    let mut report = TaskReport::default();
    let (speed, slowest) = speeds(&mut report, "", &timed);
    report.summary = format!("{speed:.0} tokens/s on the processor; most time in {slowest}");
    progress("a GPU is looked for".into());
    let Some(mut device) = context.open_device(TIMED as usize)? else {
        report.summary.push_str("; no GPU was measured");
        return Ok(report);
    };
    let name = device.name();
    progress(format!("on {name}"));
    let timed = timed_answer(context, device.engine())?;
    let (speed, slowest) = speeds(&mut report, "gpu_", &timed);
    report.summary.push_str(&format!("; {speed:.0} on {name}, most in {slowest}"));
    Ok(report)
}

pub(super) fn bench_answers(context: &ModelContext) -> WorkResult<TaskReport> {
    let (_, per_token) = timed_answer(context, &mut context.engine(1, 2 * TIMED as usize)?)?;
    let speed = 1.0 / per_token.as_secs_f64().max(1e-9);
    Ok(TaskReport::new(format!("{speed:.0} tokens/s, one answer at a time"))
        .with("tokens_per_second", speed))
}

/// Answers requests greedily, several at once.
pub(super) fn answers(
    context: &ModelContext,
    prompts: &[String],
    slots: usize,
    defaults: &Defaults,
) -> WorkResult<Vec<Answer>> {
    let requests: Vec<_> = (0..)
        .zip(prompts)
        .map(|(n, prompt): (u32, _)| defaults.request(n.to_string(), prompt))
        .collect();
    let length = context.model.config().context_length as usize;
    let mut engine = context.engine(slots, length)?;
    let mut progress = Progress::new(requests.len() as u64, 0);
    let mut found: Vec<Option<Result<Answer, Failure>>> = vec![None; requests.len()];
    let outcome = run(
        &mut engine,
        &context.text,
        requests.into_iter().map(Ok),
        &mut progress,
        context.pause_token.cancellation(),
        |report| {
            if let RunReport::Finished { number, outcome, .. } = report
                && let Some(place) = found.get_mut(number as usize)
            {
                *place = Some(outcome.clone());
            }
            Ok(())
        },
    );
    outcome.map_err(WorkError::other)?;
    context.go_on()?;
    let whole = found.into_iter().map(|answer| match answer {
        Some(answer) => answer.map_err(WorkError::other),
        None => Err(WorkError::Cancelled),
    });
    whole.collect()
}

/// Nearer than this, in nats, two tokens are equally right: rounding decides.
const MARGIN: f32 = 0.05;

pub(super) fn check_coordinator(context: &ModelContext) -> WorkResult<TaskReport> {
    const SHARED: &str = "Once upon a time, on the map, there was a little ";
    let endings =
        ["bird", "robot", "fox", "hedgehog named Tidex", "owl. Her", "lamp", "river", "map of"];
    let prompts: Vec<String> = endings.iter().map(|ending| format!("{SHARED}{ending}")).collect();
    let defaults = Defaults {
        sampling: SamplingParams::greedy(),
        max_tokens: 24,
        logprobs: Some(0),
        ..Defaults::default()
    };
    // Fewer slots than prompts, so that slots are used again and beginnings taken over.
    let answers = answers(context, &prompts, 3, &defaults)?;
    let model = context.cpu_model()?;
    let (mut wrong, mut tokens, mut worst) = (0_u32, 0_u32, 0.0_f32);
    for (prompt, answer) in prompts.iter().zip(&answers) {
        context.go_on()?;
        let found = compare(context, &model, prompt, answer)?;
        wrong += found.0;
        tokens += found.1;
        worst = worst.max(found.2);
    }
    let shared: u32 = answers.iter().map(|answer| answer.shared_tokens).sum();
    let summary = format!(
        "{} answers, 3 at once: {} of {tokens} tokens are the oracle's, {shared} prompt tokens \
         were shared",
        answers.len(),
        tokens - wrong
    );
    let report =
        TaskReport::new(summary).with("wrong_tokens", wrong.into()).with("tokens", tokens.into());
    Ok(report.with("max_logprob_error", worst.into()).with("shared_tokens", shared.into()))
}

/// Wrong tokens, tokens, and the largest error of a log-probability of one answer against one token
/// at a time.
fn compare(
    context: &ModelContext,
    model: &CpuModel,
    prompt: &str,
    answer: &Answer,
) -> WorkResult<(u32, u32, f32)> {
    let ids = context.text.encode(&Prompt::Text(prompt.into()))?;
    let scored = answer.logprobs.as_deref().unwrap_or_default();
    let mut cache = KvCache::new(model.config(), 1, ids.len() + scored.len() + 1);
    let mut position = 0;
    let mut step = |token: u32| -> WorkResult<Vec<f32>> {
        let column = Column { token, slot: 0, position, wants_logits: true };
        position += 1;
        let logits = model.forward(&mut cache, &[column], &Interventions::default(), None)?;
        Ok(log_softmax(logits.last().unwrap_or_default()))
    };
    let mut row = Vec::new();
    for &token in &ids {
        row = step(token)?;
    }
    let (mut wrong, mut worst) = (0, 0.0_f32);
    for said in scored {
        // A result names bytes, and several tokens may have the same: the most probable is meant.
        let named =
            (0..row.len()).filter(|&token| context.text.token_bytes(token as u32) == said.bytes);
        let best = row.iter().copied().fold(f32::MIN, f32::max);
        // Where no token has these bytes, there is nothing to go on with.
        let Some(token) = named.max_by(|&a, &b| row[a].total_cmp(&row[b])) else {
            wrong += 1;
            break;
        };
        if best - row[token] > MARGIN {
            wrong += 1;
        }
        worst = worst.max((row[token] - said.logprob).abs());
        // The oracle goes on with what was said, so that one difference counts once.
        row = step(token as u32)?;
    }
    Ok((wrong, scored.len() as u32, worst))
}

fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::MIN, f32::max);
    // In 64 bits, since it goes over the whole vocabulary.
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
    let shift = most + sum.ln() as f32;
    logits.iter().map(|logit| logit - shift).collect()
}
