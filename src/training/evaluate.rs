//! How good a model is at some lines of data: the loss of their targets, and whether it answers
//! them as they do.
//!
//! In: an [`Engine`], with an adapter or without, and a [`Dataset`]. Out: a [`LossSum`], and the
//! greedy answers beside the right ones.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::data::{DataQuestion, Dataset, Example};
use super::{LossSum, Parameter, Sequence};
use crate::batch::request::Defaults;
use crate::batch::{
    Progress, Prompt, Request, RunError, RunOutcome, RunReport, TextModel, run as run_requests,
};
use crate::engine::{Batch, Column, CpuEngine, Engine, EngineError, LogitsQuery, QueryKind};
use crate::forward::AdapterSet;
use crate::forward::cpu::{CpuModel, CpuOptions, ForwardError};
use crate::forward::sampling::SamplingParams;
use crate::model::{Adapter, Encoding, ModelError, PixelModel};

/// Tokens that an answer may have beyond those of the right one, since one text may be other
/// tokens.
const SPARE_TOKENS: usize = 8;

/// An answer beside the right one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AskedLine {
    /// The line of the data.
    pub line: u64,
    /// What the model said, or why it said nothing.
    pub answer: String,
    /// What is right.
    pub expected: String,
    /// Whether the line's checker takes it: as a rule the two are equal but for white space at the
    /// ends.
    pub is_right: bool,
}

/// Sequences that are answered at once.
pub const SLOTS: usize = 8;

/// An engine on the processor that computes with an adapter, as it is now.
///
/// # Errors
/// The model cannot be computed, or the adapter does not fit it.
pub fn engine_with(
    model: Arc<PixelModel>,
    adapter: &Adapter,
    context: usize,
) -> Result<CpuEngine, ForwardError> {
    let mut model = CpuModel::new(model, CpuOptions::default())?;
    model.add_adapter(adapter)?;
    let adapters = AdapterSet::new(vec![(0, 1.0)]);
    Ok(CpuEngine::new(model, SLOTS, context).with_adapters(adapters))
}

/// An engine on the processor that computes with all weights as they are now, by way of a model's
/// file in a folder, which may be removed when the engine is.
///
/// # Errors
/// The file cannot be written, or the model cannot be computed.
pub fn engine_of_weights(
    model: &PixelModel,
    weights: &[Parameter],
    folder: &std::path::Path,
    context: usize,
) -> Result<CpuEngine, WeightsError> {
    let path = folder.join("model.pxi");
    super::whole::write(model, weights, Encoding::F32, &path, true)?;
    let model = CpuModel::new(Arc::new(PixelModel::open(&path)?), CpuOptions::default())?;
    Ok(CpuEngine::new(model, SLOTS, context))
}

/// Why weights cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Their file cannot be written or read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// They cannot be computed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// Positions for the longest line, and for answers that are longer than they should be; at most
/// those that the model was made for.
pub fn positions(data: &Dataset, most: u32) -> u32 {
    let of = |example: &Example| {
        let asked = example
            .question
            .as_ref()
            .map_or(0, |it| it.prompt.len() + 2 * it.answer_tokens + SPARE_TOKENS);
        example.sequence.tokens.len().max(asked)
    };
    let longest = data.examples.iter().map(of).max().unwrap_or(1);
    u32::try_from(longest.next_multiple_of(64)).unwrap_or(most).min(most)
}

/// The loss of sequences, one after another; `None` where it was stopped.
///
/// # Errors
/// The engine fails.
pub fn score(
    engine: &mut dyn Engine,
    sequences: &[Sequence],
    stop: &AtomicBool,
    tell: &mut dyn FnMut(),
) -> Result<Option<LossSum>, EngineError> {
    let mut sum = LossSum::default();
    for sequence in sequences {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(None);
        }
        score_one(engine, sequence, &mut sum)?;
        tell();
    }
    Ok(Some(sum))
}

fn score_one(
    engine: &mut dyn Engine,
    sequence: &Sequence,
    sum: &mut LossSum,
) -> Result<(), EngineError> {
    let width = engine.capacity().columns;
    let weight = f64::from(sequence.weight);
    let columns = sequence.columns();
    for start in (0..columns).step_by(width) {
        let end = columns.min(start + width);
        let column = |position: usize| Column {
            token: sequence.tokens[position],
            slot: 0,
            position: position as u32,
        };
        let ask = |position: usize| LogitsQuery {
            column: (position - start) as u32,
            kind: QueryKind::Score { token: sequence.tokens[position + 1] },
            logprob: true,
            top: 0,
        };
        let is_wanted = |position: &usize| sequence.is_target[position + 1];
        let batch = Batch {
            columns: (start..end).map(column).collect(),
            asks: (start..end).filter(is_wanted).map(ask).collect(),
            steps: 1,
            ..Batch::default()
        };
        let answers = engine.step(&batch)?;
        let scores: Vec<f32> =
            answers.iter().flatten().filter_map(|sampled| sampled.logprob).collect();
        let (found, expected) = (scores.len(), batch.asks.len());
        if found != expected {
            return Err(EngineError::Answers { found, expected });
        }
        sum.sum -= weight * scores.iter().map(|&it| f64::from(it)).sum::<f64>();
        sum.weight += weight * found as f64;
    }
    Ok(())
}

/// Asks every question of the data greedily; `None` where it was stopped. An answer ends where the
/// model ends it, and at a line break where the right one has none.
///
/// # Errors
/// The engine fails.
pub fn ask(
    engine: &mut dyn Engine,
    text: &dyn TextModel,
    data: &Dataset,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(),
) -> Result<Option<Vec<AskedLine>>, RunError> {
    let questions: Vec<(u64, &DataQuestion)> = data
        .examples
        .iter()
        .filter_map(|example| Some((example.line, example.question.as_ref()?)))
        .collect();
    let context = engine.capacity().context;
    let requests = questions.iter().map(|(line, question)| Ok(request(*line, question, context)));
    let mut answers: Vec<Option<AskedLine>> = vec![None; questions.len()];
    let mut progress = Progress::new(questions.len() as u64, 0);
    let outcome = run_requests(engine, text, requests, &mut progress, stop, |report| {
        if let RunReport::Finished { number, outcome, .. } = report {
            let (line, question) = questions[number as usize];
            let answer = match outcome {
                Ok(answer) => answer.text.clone(),
                Err(failure) => failure.to_string(),
            };
            let is_right = outcome.is_ok() && question.check.is_right(&answer, &question.answer);
            let expected = question.answer.clone();
            answers[number as usize] = Some(AskedLine { line, answer, expected, is_right });
            tell();
        }
        Ok(())
    })?;
    let answers: Vec<AskedLine> = answers.into_iter().flatten().collect();
    Ok((outcome == RunOutcome::Complete && answers.len() == questions.len()).then_some(answers))
}

fn request(line: u64, question: &DataQuestion, context: usize) -> Request {
    let room = context.saturating_sub(question.prompt.len());
    let stop = if question.answer.contains('\n') { Vec::new() } else { vec!["\n".to_owned()] };
    Request {
        prompt: Prompt::Tokens(question.prompt.clone()),
        sampling: SamplingParams::greedy(),
        max_tokens: (2 * question.answer_tokens + SPARE_TOKENS).min(room) as u32,
        stop,
        ..Defaults::default().request(line.to_string(), "")
    }
}
