//! Which heads matter: mute one, measure the loss, take it back.

use super::{ModelContext, ProgressListener, TaskReport, WorkError, WorkResult};
use crate::batch::perplexity::{Likelihood, Windows, score_window};
use crate::engine::CpuEngine;
use crate::forward::Interventions;
use crate::lineage::own_text;
use crate::pxi::AtomicFile;

/// A text of the kind that the built-in model knows: on it a lesson looks whether other things are
/// forgotten, and a conversion is compared with its source.
pub const SURVEY_TEXT: &str = "Once upon a time, on the map, there was a little bird. Her name \
was Ivy. Ivy had a good friend, a careful hedgehog named Tidex. It was a rainy morning. The river \
was loud. \"I am faster than you,\" said Tidex to Ivy. \"Let us race from the square to the \
workshop.\" Tidex was ahead. But Tidex took the wrong road, because she did not read the sign. Ivy \
read the sign and went on. Ivy came to the workshop first and won the race.";

/// Where the survey of heads is kept, in the folder of the queue.
pub const HEAD_IMPORTANCE_FILE: &str = "head-importance.json";

/// Tokens of the text that are scored: enough for a loss that tells heads apart, little for a large
/// model.
const TOKENS: u32 = 256;
/// The seed of that text.
const SEED: u64 = 1;

/// The mean negative log-likelihood, in nats, of every token of a text after its first, from an
/// empty context.
///
/// # Errors
/// The engine fails.
pub fn loss(engine: &mut CpuEngine, tokens: &[u32]) -> WorkResult<f64> {
    // One window, in which every token after the first is scored.
    let windows = Windows::striding(tokens.len(), tokens.len() - 1);
    let mut likelihood = Likelihood::default();
    score_window(engine, &windows, None, tokens, &mut likelihood)?;
    Ok(likelihood.mean())
}

/// A text of the model's own kind, which it writes itself: what another model knows would not show
/// what is missing in this one.
fn tokens(context: &ModelContext) -> WorkResult<Vec<u32>> {
    let model = context.cpu_model()?;
    let text = own_text(&model, context.text.tokenizer(), TOKENS, SEED)?;
    Ok(text.windows.into_iter().next().unwrap_or_default())
}

/// The factors with which one head is muted.
fn muted(context: &ModelContext, layer: u32, head: u32) -> Interventions {
    let config = context.model.config();
    Interventions::new([config.layer_count, config.head_count], [([layer, head], 0.0)], [])
}

/// The losses with nothing muted, and with one head muted; the head is on again afterwards.
pub(super) fn ablate(context: &ModelContext, layer: u32, head: u32) -> WorkResult<TaskReport> {
    let config = context.model.config();
    if layer >= config.layer_count || head >= config.head_count {
        let (layers, heads) = (config.layer_count, config.head_count);
        return Err(WorkError::Other(format!(
            "there is no head {layer}.{head}: the model has {layers} layers of {heads} heads"
        )));
    }
    let tokens = tokens(context)?;
    let mut engine = context.engine(1, tokens.len())?;
    let whole = loss(&mut engine, &tokens)?;
    *engine.interventions_mut() = muted(context, layer, head);
    let without = loss(&mut engine, &tokens)?;
    *engine.interventions_mut() = Interventions::default();
    // A third time: the report shows that the head is on again.
    let again = loss(&mut engine, &tokens)?;
    let report = TaskReport::new(format!(
        "without head {layer}.{head} the loss is {without:.4}, with it {whole:.4}"
    ));
    Ok(report
        .with("loss", whole)
        .with("loss_without", without)
        .with("importance", without - whole)
        .with("loss_unmuted", again))
}

/// Every head in turn, most important first.
pub(super) fn survey(
    context: &ModelContext,
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    let (layers, heads) = (context.model.config().layer_count, context.model.config().head_count);
    progress("the model writes a text".into());
    let tokens = tokens(context)?;
    let mut engine = context.engine(1, tokens.len())?;
    let whole = loss(&mut engine, &tokens)?;
    let mut found: Vec<(u32, u32, f64)> = Vec::with_capacity((layers * heads) as usize);
    for layer in 0..layers {
        for head in 0..heads {
            context.go_on()?;
            progress(format!("head {layer}.{head} of {layers} x {heads}"));
            *engine.interventions_mut() = muted(context, layer, head);
            found.push((layer, head, loss(&mut engine, &tokens)?));
        }
    }
    found.sort_by(|a, b| b.2.total_cmp(&a.2));
    let name = HEAD_IMPORTANCE_FILE;
    let rows: Vec<serde_json::Value> = found
        .iter()
        .map(|(layer, head, loss)| {
            let importance = loss - whole;
            serde_json::json!({
                "layer": layer, "head": head, "loss": loss, "importance": importance
            })
        })
        .collect();
    let document = serde_json::json!({
        "model": crate::model::hex(&context.model.header().root),
        "loss": whole, "tokens": tokens, "heads": rows
    });
    write_file(context, name, format!("{document:#}\n").as_bytes())?;
    let (layer, head, worst) = found.first().copied().unwrap_or((0, 0, whole));
    let summary = format!(
        "head {layer}.{head} matters most: without it the loss is {worst:.3} for {whole:.3}"
    );
    let mut report = TaskReport::new(summary)
        .with("loss", whole)
        .with("heads", found.len() as f64)
        .with("most_important_layer", layer.into())
        .with("most_important_head", head.into())
        .with("largest_importance", worst - whole);
    report.files.push(name.into());
    Ok(report)
}

/// Writes a file of a report, whole or not at all.
pub(super) fn write_file(context: &ModelContext, name: &str, bytes: &[u8]) -> WorkResult<()> {
    let path = context.folder.join(name);
    AtomicFile::replace(path, bytes).map_err(WorkError::other)
}
