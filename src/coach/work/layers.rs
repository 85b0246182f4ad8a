//! Which layers matter: skip one, measure the loss on the model's own text, take it back.

use super::heads::{loss, write_file};
use super::{ModelContext, ProgressListener, TaskReport, WorkResult};
use crate::engine::CpuEngine;
use crate::forward::Interventions;
use crate::lineage::own_text;

/// Where the survey is kept, in the folder of the queue.
const LAYER_IMPORTANCE_FILE: &str = "layer-importance.json";

/// Every layer in turn, on a text of the model's kind: the model writes it.
pub(super) fn survey(
    context: &ModelContext,
    (tokens, seed): (u32, u64),
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    let config = context.model.config();
    let (layers, heads) = (config.layer_count, config.head_count);
    let model = context.cpu_model()?;
    progress("the model writes a text".into());
    let text = own_text(&model, context.text.tokenizer(), tokens, seed)?;
    drop(model);
    let length = text.windows.iter().map(Vec::len).max().unwrap_or(1);
    let mut engine = context.engine(1, length)?;
    let whole = mean(context, &mut engine, &text.windows)?;
    let mut losses = Vec::new();
    for layer in 0..layers {
        progress(format!("layer {layer} of {layers}"));
        *engine.interventions_mut() = Interventions::new([layers, heads], [], [(layer, 0.0)]);
        losses.push(mean(context, &mut engine, &text.windows)?);
    }
    let rows: Vec<serde_json::Value> = (0..)
        .zip(&losses)
        .map(|(layer, loss): (u32, &f64)| {
            serde_json::json!({"layer": layer, "loss": loss, "importance": loss - whole})
        })
        .collect();
    let document = serde_json::json!({
        "model": crate::model::hex(&context.model.header().root),
        "loss": whole, "tokens": text.tokens(), "layers": rows
    });
    write_file(context, LAYER_IMPORTANCE_FILE, format!("{document:#}\n").as_bytes())?;
    let by_loss = |(_, a): &(usize, &f64), (_, b): &(usize, &f64)| a.total_cmp(b);
    let most = losses.iter().enumerate().max_by(by_loss).map_or((0, whole), |it| (it.0, *it.1));
    let least = losses.iter().enumerate().min_by(by_loss).map_or((0, whole), |it| (it.0, *it.1));
    let mut report = TaskReport::new(format!(
        "layer {} matters most, {} least: without them the loss is {:.3} and {:.3} for {whole:.3}",
        most.0, least.0, most.1, least.1
    ))
    .with("loss", whole)
    .with("layers", losses.len() as f64)
    .with("most_important_layer", most.0 as f64)
    .with("least_important_layer", least.0 as f64)
    .with("largest_importance", most.1 - whole)
    .with("smallest_importance", least.1 - whole);
    report.files.push(LAYER_IMPORTANCE_FILE.into());
    Ok(report)
}

/// The mean loss of windows, each from an empty context.
fn mean(context: &ModelContext, engine: &mut CpuEngine, windows: &[Vec<u32>]) -> WorkResult<f64> {
    let mut sum = 0.0;
    for window in windows {
        context.go_on()?;
        sum += loss(engine, window)?;
    }
    Ok(sum / windows.len().max(1) as f64)
}
