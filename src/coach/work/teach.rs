//! Work that teaches the loaded model: lines of a corpus, an adapter that learns them, and how good
//! the model is at lines that are held out.
//!
//! In: a corpus of the program or of a mod, and files in the queue's folder. Out:
//! `NAME-train.jsonl`, `NAME-valid.jsonl`, `NAME.adapter.gguf`, and what was measured before and
//! after. The model's own tiles stay as they are. Long work is cut where a trainer asks whether to
//! stop: while the pause token is held it waits there, so that prompts and drawing have the
//! processor.

mod fine_tuning;
mod paused;

use std::path::PathBuf;
use std::sync::Arc;

use self::paused::PausedEngine;
use super::heads::write_file;
use super::{ModelContext, TaskReport, WorkError, WorkResult};
use crate::engine::CpuEngine;
use crate::forward::AdapterSet;
use crate::model::Adapter;
use crate::training::corpus::{Corpus, generate, to_json_lines};
use crate::training::data::{DataOptions, Dataset, TargetChoice};
use crate::training::evaluate::{SLOTS, ask, positions, score};

pub(super) use fine_tuning::fine_tune;

/// Writes lines to learn and lines that are held out.
pub(super) fn generate_corpus(
    context: &ModelContext,
    name: &str,
    (lines, valid_lines): (usize, Option<usize>),
    seed: u64,
) -> WorkResult<TaskReport> {
    let Some(assets) = &context.assets else {
        return Err(WorkError::Other("no corpora are known to this work".into()));
    };
    let corpus: Corpus = assets.content("corpus", name).map_err(WorkError::other)?;
    let wanted = (lines, valid_lines.unwrap_or(lines.div_ceil(4)));
    let made = generate(&corpus, Some(&context.model), seed, wanted).map_err(WorkError::other)?;
    let [train, valid] = ["train", "valid"].map(|part| file_of(name, part));
    write_file(context, &train, &to_json_lines(&made.train).map_err(WorkError::other)?)?;
    write_file(context, &valid, &to_json_lines(&made.valid).map_err(WorkError::other)?)?;
    let (learnt, held) = (made.train.len(), made.valid.len());
    let mut report = TaskReport::new(format!("{learnt} lines to learn, {held} held out"))
        .with("lines", learnt as f64)
        .with("valid_lines", held as f64);
    report.files.extend([train, valid]);
    Ok(report)
}

/// How good the model is at what is held out, with what it learnt or without.
pub(super) fn evaluate(
    context: &ModelContext,
    name: &str,
    with_adapter: bool,
) -> WorkResult<TaskReport> {
    let data = lines_of(context, name, "valid")?;
    let context_length = context.model.config().context_length;
    let positions = positions(&data, context_length) as usize;
    let mut model = context.cpu_model()?;
    let mut adapters = AdapterSet::default();
    if with_adapter {
        let path = adapter_path(context, name);
        if !path.is_file() {
            return Err(WorkError::Other(format!(
                "there is no adapter {}: the action fine_tune writes it",
                path.display()
            )));
        }
        let adapter = Adapter::open(&path, &context.model).map_err(WorkError::other)?;
        adapter.check(&context.model, false).map_err(WorkError::other)?;
        model.add_adapter(&adapter)?;
        adapters = AdapterSet::new(vec![(0, 1.0)]);
    }
    let engine = CpuEngine::new(model, SLOTS, positions).with_adapters(adapters);
    let mut engine = PausedEngine::new(engine, &context.pause_token);
    let stop = context.pause_token.cancellation();
    let sequences: Vec<_> = data.examples.iter().map(|it| it.sequence.clone()).collect();
    let loss = score(&mut engine, &sequences, stop, &mut || ())?;
    let loss = loss.ok_or(WorkError::Cancelled)?.mean();
    let asked = ask(&mut engine, &context.text, &data, stop, &mut || ());
    let asked = asked.map_err(WorkError::other)?.ok_or(WorkError::Cancelled)?;
    let right = asked.iter().filter(|line| line.is_right).count();
    let how = if with_adapter { "with what it learnt" } else { "without an adapter" };
    let mut report = TaskReport::new(format!(
        "{right} of {} held-out answers are right {how}, valid loss {loss:.3}",
        asked.len()
    ))
    .with("valid_loss", loss)
    .with("lines", data.examples.len() as f64);
    if !asked.is_empty() {
        report = report.with("exact_match", right as f64 / asked.len() as f64);
    }
    Ok(report)
}

/// The file of a corpus's lines.
fn file_of(corpus: &str, part: &str) -> String {
    format!("{corpus}-{part}.jsonl")
}

/// Where what was learnt from a corpus is kept.
pub(super) fn adapter_path(context: &ModelContext, corpus: &str) -> PathBuf {
    context.folder.join(format!("{corpus}.adapter.gguf"))
}

/// Lines that were written to be learnt or to be held out.
pub(super) fn lines_of(context: &ModelContext, corpus: &str, part: &str) -> WorkResult<Dataset> {
    // It becomes the name of files in the queue's folder, and of none elsewhere.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if corpus.is_empty() || !corpus.chars().all(is_plain) {
        return Err(WorkError::Other(format!(
            "{corpus:?} is no name of a corpus: letters, digits, - and _"
        )));
    }
    let path = context.folder.join(file_of(corpus, part));
    if !path.is_file() {
        return Err(WorkError::Other(format!(
            "there is no {}: generate_corpus(corpus: \"{corpus}\") writes it",
            path.display()
        )));
    }
    Dataset::read(&path, &context.text, &data_options(context, TargetChoice::Auto))
        .map_err(WorkError::other)
}

fn data_options(context: &ModelContext, targets: TargetChoice) -> DataOptions {
    let context = context.model.config().context_length as usize;
    DataOptions { targets, end: true, context, truncate: false }
}

/// How many of the held-out lines a model answers rightly, and of how many.
fn answers_with(
    context: &ModelContext,
    adapter: &Adapter,
    data: &Dataset,
) -> WorkResult<(usize, usize)> {
    let positions = positions(data, context.model.config().context_length) as usize;
    let engine =
        crate::training::evaluate::engine_with(Arc::clone(&context.model), adapter, positions)?;
    let mut engine = PausedEngine::new(engine, &context.pause_token);
    let stop = context.pause_token.cancellation();
    let asked = ask(&mut engine, &context.text, data, stop, &mut || ());
    let asked = asked.map_err(WorkError::other)?.ok_or(WorkError::Cancelled)?;
    Ok((asked.iter().filter(|line| line.is_right).count(), asked.len()))
}
