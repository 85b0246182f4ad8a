//! Work in which the model writes: answers, activations that are kept, training data about itself.

use std::io::Write;

use super::heads::write_file;
use super::inference::answers;
use super::{ModelContext, TaskReport, WorkError, WorkResult};
use crate::batch::request::{Defaults, PromptMode};
use crate::batch::{Prompt, TextModel};
use crate::forward::cpu::{Column, KvCache};
use crate::forward::sampling::SamplingParams;
use crate::forward::{HookPoint, Hooks, Interventions};
use crate::pxi::{PxiWriter, WriteOptions};

/// Runs prompts and keeps the residual stream after a layer, as pixels.
pub(super) fn probe(
    context: &ModelContext,
    prompts: &[String],
    layer: Option<u32>,
) -> WorkResult<TaskReport> {
    let config = context.model.config();
    let layer = layer.unwrap_or(config.layer_count - 1);
    if layer >= config.layer_count {
        return Err(WorkError::Other(format!(
            "there is no layer {layer}: the model has {}",
            config.layer_count
        )));
    }
    let model = context.cpu_model()?;
    let mut values: Vec<f32> = Vec::new();
    let mut tokens = 0;
    for prompt in prompts {
        context.go_on()?;
        let mut ids = context.text.encode(&Prompt::Text(prompt.clone()))?;
        ids.truncate(config.context_length as usize);
        let columns: Vec<Column> = (0..)
            .zip(&ids)
            .map(|(position, &token)| Column { token, slot: 0, position, wants_logits: false })
            .collect();
        tokens += ids.len();
        let mut cache = KvCache::new(config, 1, ids.len().max(1));
        let mut hooks = Hooks::watching([HookPoint::Residual(layer)], columns.len());
        model.forward(&mut cache, &columns, &Interventions::default(), Some(&mut hooks))?;
        hooks.watched().iter().for_each(|watched| values.extend_from_slice(&watched.values));
    }
    let name = format!("activations-layer-{layer}.pxi");
    let path = context.folder.join(&name);
    let mut writer = PxiWriter::create(&path, WriteOptions::default()).map_err(WorkError::other)?;
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    writer.write_all(&bytes).map_err(WorkError::other)?;
    writer.finish().map_err(WorkError::other)?;
    let squares: f64 = values.iter().map(|&value| f64::from(value).powi(2)).sum();
    let root_mean_square = (squares / values.len().max(1) as f64).sqrt();
    let summary =
        format!("{tokens} columns of {} values after layer {layer}", config.embedding_size);
    let mut report = TaskReport::new(summary)
        .with("columns", tokens as f64)
        .with("values", values.len() as f64)
        .with("root_mean_square", root_mean_square);
    report.files.push(name);
    Ok(report)
}

pub(super) fn generate(
    context: &ModelContext,
    prompt: &str,
    max_tokens: u32,
) -> WorkResult<TaskReport> {
    // A model without a chat template goes on from the text instead.
    let modes = [PromptMode::Chat, PromptMode::Raw];
    let works = |mode: &PromptMode| {
        let defaults = Defaults { mode: *mode, ..Defaults::default() };
        context.text.encode(&defaults.request("x", prompt).prompt).is_ok()
    };
    let mode = modes.into_iter().find(works).unwrap_or_default();
    let defaults =
        Defaults { sampling: SamplingParams::greedy(), max_tokens, mode, ..Defaults::default() };
    let answers = answers(context, &[prompt.to_owned()], 1, &defaults)?;
    let answer = answers.into_iter().next().unwrap_or_default();
    let mut report = TaskReport::new(format!("wrote {} tokens", answer.completion_tokens));
    report = report.with("tokens", answer.completion_tokens.into());
    report.text = Some(answer.text);
    Ok(report)
}

pub(super) fn training_data(context: &ModelContext, prompts: &[String]) -> WorkResult<TaskReport> {
    let defaults = Defaults {
        sampling: SamplingParams::greedy(),
        max_tokens: 48,
        logprobs: Some(0),
        ..Defaults::default()
    };
    let answers = answers(context, prompts, prompts.len().clamp(1, 4), &defaults)?;
    let mut lines = String::new();
    let mut sum = 0.0;
    for (prompt, answer) in prompts.iter().zip(&answers) {
        let scored = answer.logprobs.as_deref().unwrap_or_default();
        let mean = scored.iter().map(|token| f64::from(token.logprob)).sum::<f64>()
            / scored.len().max(1) as f64;
        sum += mean;
        let line =
            serde_json::json!({"prompt": prompt, "completion": answer.text, "mean_logprob": mean});
        lines.push_str(&format!("{line}\n"));
    }
    let name = "training-data.jsonl";
    write_file(context, name, lines.as_bytes())?;
    let mean = sum / answers.len().max(1) as f64;
    let mut report =
        TaskReport::new(format!("{} lines, {mean:.2} nats a token on average", answers.len()))
            .with("lines", answers.len() as f64)
            .with("mean_logprob", mean);
    report.files.push(name.into());
    Ok(report)
}
