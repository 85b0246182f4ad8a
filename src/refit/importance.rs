//! How much each input of a matrix matters: the mean square of what it is multiplied with, over a
//! text. An error of a weight costs as much as the square of its input.

use crate::forward::cpu::{Column, CpuModel, ForwardError, KvCache};
use crate::forward::{HookPoint, Hooks, Interventions};

use super::text::RefitText;

/// For each tensor in the order of the model's table, the importance of its columns; `None` for
/// vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnImportance {
    /// Mean squares, one per column.
    pub of: Vec<Option<Vec<f32>>>,
}

/// The place whose values a matrix is multiplied with.
fn input_of(name: &str, layer: Option<u32>) -> Option<HookPoint> {
    let Some(layer) = layer else {
        let is_output = matches!(name, "output.weight" | "token_embd.weight");
        return is_output.then_some(HookPoint::FinalNorm);
    };
    match name.split_once('.')?.1.split_once('.')?.1 {
        "attn_q.weight" | "attn_k.weight" | "attn_v.weight" => {
            Some(HookPoint::AttentionNorm(layer))
        }
        "attn_output.weight" => Some(HookPoint::HeadOutput(layer)),
        "ffn_gate.weight" | "ffn_up.weight" => Some(HookPoint::FeedForwardNorm(layer)),
        "ffn_down.weight" => Some(HookPoint::Hidden(layer)),
        _ => None,
    }
}

/// Measures importance over a text. `told` hears of the tokens of each window.
///
/// # Errors
/// The model cannot compute.
pub fn importance(
    model: &CpuModel,
    text: &RefitText,
    told: &dyn Fn(usize),
) -> Result<ColumnImportance, ForwardError> {
    let tensors = model.model().tensors();
    let tied = model.config().tied_embeddings;
    let point = |tensor: &crate::model::Tensor| {
        let is_read_only = tensor.name == "token_embd.weight" && !tied;
        let layer = tensor.layer().map(|(layer, _)| layer);
        input_of(&tensor.name, layer).filter(|_| !is_read_only)
    };
    let points: Vec<Option<HookPoint>> = tensors.iter().map(point).collect();
    // Several matrices read the same values.
    let mut watched: Vec<HookPoint> = Vec::new();
    for point in points.iter().flatten() {
        if !watched.contains(point) {
            watched.push(*point);
        }
    }
    let mut squares: Vec<(HookPoint, Vec<f64>, usize)> = Vec::new();
    for window in &text.windows {
        let mut cache = KvCache::new(model.config(), 1, window.len());
        let columns = columns_of(window);
        let mut hooks = Hooks::watching(watched.iter().copied(), columns.len());
        model.forward(&mut cache, &columns, &Interventions::default(), Some(&mut hooks))?;
        for seen in hooks.watched() {
            let at = squares.iter().position(|(point, ..)| *point == seen.point);
            let at = at.unwrap_or_else(|| {
                squares.push((seen.point, vec![0.0; seen.features], 0));
                squares.len() - 1
            });
            let (_, sums, count) = &mut squares[at];
            for column in seen.values.chunks_exact(seen.features) {
                sums.iter_mut().zip(column).for_each(|(sum, v)| *sum += f64::from(*v).powi(2));
                *count += 1;
            }
        }
        told(window.len());
    }
    let of = |point: &Option<HookPoint>| {
        let (_, sums, count) = squares.iter().find(|(seen, ..)| Some(*seen) == *point)?;
        Some(sums.iter().map(|sum| (sum / *count as f64) as f32).collect())
    };
    Ok(ColumnImportance { of: points.iter().map(of).collect() })
}

/// A window as the columns of one pass, all of which want logits.
pub(super) fn columns_of(window: &[u32]) -> Vec<Column> {
    let column = |(position, &token)| Column { token, slot: 0, position, wants_logits: true };
    (0..).zip(window).map(column).collect()
}
