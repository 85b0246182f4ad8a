//! Each kernel against plain double precision: the activations of a real prompt are kept at every
//! hook, and what a kernel made of its input is computed again from weights that were unpacked by
//! another way.
//!
//! These are the kernels of the processor, which are the twins of those on a GPU. Where there is an
//! adapter, its kernels run the same prompt and are compared with them, place by place.

use std::collections::HashMap;

use super::plain::ExportedModel;
use super::{ModelContext, ProgressListener, TaskReport, WorkResult};
use crate::forward::cpu::{Column, KvCache};
use crate::forward::{HookPoint, Hooks, Interventions};
use crate::model::ModelConfig;
use crate::model::tokenizer::EncodeOptions;

const PROMPT: &str = "Once upon a time there was a little bird. Her name was Ivy.";
/// Columns of the pass: more than one, so that the kernels work as they do on a prompt.
const COLUMNS: usize = 12;

/// The largest distance between two lists, relative to the largest value of the second.
fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    // Not 0, even where all values are: it is divided by.
    let largest = expected.iter().fold(1e-12_f64, |most, value| most.max(value.abs()));
    let distances =
        found.iter().zip(expected).map(|(&found, expected)| (f64::from(found) - expected).abs());
    // Not infinite: a report's metrics are finite.
    if found.len() == expected.len() { distances.fold(0.0, f64::max) / largest } else { f64::MAX }
}

pub(super) fn kernel_twins(
    context: &ModelContext,
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    let config = context.model.config().clone();
    let options = EncodeOptions { add_special: true, parse_special: true };
    let mut tokens = context.text.tokenizer().encode(PROMPT, options);
    tokens.truncate(COLUMNS.min(config.context_length as usize));
    let columns: Vec<Column> = (0..)
        .zip(&tokens)
        .map(|(position, &token)| Column { token, slot: 0, position, wants_logits: true })
        .collect();
    let model = context.cpu_model()?;
    let mut cache = KvCache::new(&config, 1, tokens.len());
    let mut hooks = Hooks::watching(HookPoint::all(&config), columns.len());
    model.forward(&mut cache, &columns, &Interventions::default(), Some(&mut hooks))?;
    let kept: HashMap<HookPoint, Vec<f32>> =
        hooks.watched().iter().map(|seen| (seen.point, seen.values.clone())).collect();
    let plain = ExportedModel::new(context)?;
    let mut errors: Vec<(&str, f64)> = Vec::new();
    let twins = Twins { plain: &plain, kept: &kept, config: &config, tokens: &tokens };
    progress("embed".into());
    errors.push(("embed", twins.embed()?));
    // The first layer and the last: all layers run the same kernels, and a large model has many.
    let mut layers = vec![0, config.layer_count - 1];
    layers.dedup();
    for layer in layers {
        context.go_on()?;
        progress(format!("layer {layer}"));
        errors.extend(twins.layer(layer)?);
    }
    progress("logits".into());
    errors.push(("logits", twins.logits()?));
    let mut report = TaskReport::default();
    for (kernel, error) in &errors {
        let worst = report.metrics.entry(format!("error_{kernel}")).or_insert(0.0);
        *worst = worst.max(*error);
    }
    let (worst, error) = largest(&errors);
    report.summary = format!(
        "{} kernels on the processor against plain f64: largest error {error:.1e} of the largest \
         value, in {worst}",
        report.metrics.len()
    );
    let report = report.with("max_relative_error", error);
    on_device(context, &tokens, &kept, report, progress)
}

fn largest<'a>(errors: &[(&'a str, f64)]) -> (&'a str, f64) {
    errors.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or(("none", f64::MAX))
}

/// Adds what the kernels of a GPU make of the same prompt, against their twins. The largest error
/// counts for both.
fn on_device(
    context: &ModelContext,
    tokens: &[u32],
    kept: &HashMap<HookPoint, Vec<f32>>,
    mut report: TaskReport,
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    use HookPoint as H;
    progress("a GPU is looked for".into());
    let Some(mut device) = context.open_device(tokens.len())? else {
        report.summary.push_str("; no GPU was compared");
        return Ok(report);
    };
    progress(format!("on {}", device.name()));
    let last = context.model.config().layer_count - 1;
    let mut places = vec![("embed", H::Embedding), ("logits", H::Logits)];
    for layer in if last == 0 { vec![0] } else { vec![0, last] } {
        places.extend([
            ("qkv", H::Query(layer)),
            ("qkv", H::Key(layer)),
            ("qkv", H::Value(layer)),
            ("attend", H::HeadOutput(layer)),
            ("gate_up", H::Hidden(layer)),
            // What project and down add is in the residual stream.
            ("project_down", H::Residual(layer)),
        ]);
    }
    let points: Vec<HookPoint> = places.iter().map(|&(_, point)| point).collect();
    let found = device.watch(tokens, &points)?;
    let mut errors = Vec::new();
    for (kernel, point) in places {
        let twin: Vec<f64> =
            kept.get(&point).into_iter().flatten().map(|&value| value.into()).collect();
        let error = found.get(&point).map_or(f64::MAX, |found| relative_error(found, &twin));
        errors.push((kernel, error));
        let worst = report.metrics.entry(format!("gpu_error_{kernel}")).or_insert(0.0);
        *worst = worst.max(error);
    }
    let (worst, error) = largest(&errors);
    report
        .summary
        .push_str(&format!("; on {} against these: {error:.1e}, in {worst}", device.name()));
    let both = report.metrics.get("max_relative_error").copied().unwrap_or(0.0).max(error);
    Ok(report.with("gpu_max_relative_error", error).with("max_relative_error", both))
}

struct Twins<'a> {
    plain: &'a ExportedModel,
    kept: &'a HashMap<HookPoint, Vec<f32>>,
    config: &'a ModelConfig,
    tokens: &'a [u32],
}

impl Twins<'_> {
    fn at(&self, point: HookPoint) -> &[f32] {
        self.kept.get(&point).map_or(&[], Vec::as_slice)
    }

    fn rows(&self, point: HookPoint) -> impl Iterator<Item = &[f32]> {
        self.at(point).chunks_exact(point.features(self.config) as usize)
    }

    /// A matrix and its bias on each column.
    fn linear(&self, name: &str, input: HookPoint) -> WorkResult<Vec<f64>> {
        let matrix = self.plain.tensor(&format!("{name}.weight"))?;
        let bias = self.plain.optional(&format!("{name}.bias"))?;
        let mut out = Vec::new();
        for column in self.rows(input) {
            let mut row = matrix.times(column);
            if let Some(bias) = &bias {
                row.iter_mut()
                    .zip(&bias.weights)
                    .for_each(|(value, &bias)| *value += f64::from(bias));
            }
            out.extend(row);
        }
        Ok(out)
    }

    fn norm(&self, name: &str, input: HookPoint) -> WorkResult<Vec<f64>> {
        let weights = self.plain.tensor(name)?.weights;
        let row = |row: &[f32]| {
            let squares: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
            let scale =
                (squares / row.len() as f64 + f64::from(self.config.norm_epsilon)).sqrt().recip();
            row.iter()
                .zip(&weights)
                .map(|(&x, &w)| f64::from(x) * scale * f64::from(w))
                .collect::<Vec<_>>()
        };
        Ok(self.rows(input).flat_map(row).collect())
    }

    fn embed(&self) -> WorkResult<f64> {
        let table = self.plain.tensor("token_embd.weight")?;
        let row =
            |&token: &u32| table.weights[token as usize * table.columns..][..table.columns].iter();
        let expected: Vec<f64> = self.tokens.iter().flat_map(row).map(|&x| f64::from(x)).collect();
        Ok(relative_error(self.at(HookPoint::Embedding), &expected))
    }

    fn logits(&self) -> WorkResult<f64> {
        let name = if self.config.tied_embeddings { "token_embd" } else { "output" };
        Ok(relative_error(self.at(HookPoint::Logits), &self.linear(name, HookPoint::FinalNorm)?))
    }

    fn layer(&self, l: u32) -> WorkResult<Vec<(&'static str, f64)>> {
        use HookPoint as H;
        let name = |part: &str| format!("blk.{l}.{part}");
        let error = |point: H, expected: &[f64]| relative_error(self.at(point), expected);
        let before = if l == 0 { H::Embedding } else { H::Residual(l - 1) };
        let silu = |pause_token: f64| pause_token / (1.0 + (-pause_token).exp());
        let gated = self.at(H::Gate(l)).iter().zip(self.at(H::Up(l)));
        let hidden: Vec<f64> =
            gated.map(|(&pause_token, &up)| silu(pause_token.into()) * f64::from(up)).collect();
        let parts =
            [before, H::AttentionOutput(l), H::FeedForwardOutput(l)].map(|point| self.at(point));
        let residual: Vec<f64> = (0..parts[0].len())
            .map(|at| parts.iter().map(|part| f64::from(part[at])).sum())
            .collect();
        let mut errors = vec![
            (
                "rms_norm",
                error(H::AttentionNorm(l), &self.norm(&name("attn_norm.weight"), before)?),
            ),
            ("qkv", error(H::Value(l), &self.linear(&name("attn_v"), H::AttentionNorm(l))?)),
            ("attend", error(H::HeadOutput(l), &self.attention(l))),
            (
                "project",
                error(H::AttentionOutput(l), &self.linear(&name("attn_output"), H::HeadOutput(l))?),
            ),
            ("gate_up", error(H::Gate(l), &self.linear(&name("ffn_gate"), H::FeedForwardNorm(l))?)),
            ("gate_up", error(H::Up(l), &self.linear(&name("ffn_up"), H::FeedForwardNorm(l))?)),
            ("gate_up", error(H::Hidden(l), &hidden)),
            (
                "down",
                error(H::FeedForwardOutput(l), &self.linear(&name("ffn_down"), H::Hidden(l))?),
            ),
            ("down", error(H::Residual(l), &residual)),
        ];
        if !self.config.qk_norms {
            // RoPE turns pairs within a head: the length of a head's vector stays what the matrix
            // gave.
            for (point, part) in [(H::Query(l), "attn_q"), (H::Key(l), "attn_k")] {
                let lengths = |values: Vec<f64>| -> Vec<f64> {
                    let heads = values.chunks_exact(self.config.head_size as usize);
                    heads.map(|head| head.iter().map(|x| x * x).sum::<f64>().sqrt()).collect()
                };
                let found = lengths(self.at(point).iter().map(|&x| x.into()).collect());
                let found: Vec<f32> = found.iter().map(|&x| x as f32).collect();
                let expected = lengths(self.linear(&name(part), H::AttentionNorm(l))?);
                errors.push(("qkv", relative_error(&found, &expected)));
            }
        }
        Ok(errors)
    }

    /// Causal attention, head by head.
    fn attention(&self, layer: u32) -> Vec<f64> {
        let size = self.config.head_size as usize;
        let (heads, per_kv) =
            (self.config.head_count as usize, self.config.heads_per_kv() as usize);
        let keys: Vec<&[f32]> = self.rows(HookPoint::Key(layer)).collect();
        let values: Vec<&[f32]> = self.rows(HookPoint::Value(layer)).collect();
        let mut out = Vec::new();
        for (position, query) in self.rows(HookPoint::Query(layer)).enumerate() {
            for head in 0..heads {
                let query = &query[head * size..][..size];
                let part = |row: &[f32]| row[head / per_kv * size..][..size].to_vec();
                let dot = |key: &[f32]| -> f64 {
                    let key = part(key);
                    query.iter().zip(key).map(|(&q, k)| f64::from(q) * f64::from(k)).sum::<f64>()
                };
                let scores: Vec<f64> =
                    keys[..=position].iter().map(|key| dot(key) / (size as f64).sqrt()).collect();
                let most = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let mut mixed = vec![0.0; size];
                for (weight, value) in weights.iter().zip(&values) {
                    for (out, value) in mixed.iter_mut().zip(part(value)) {
                        *out += weight / sum * f64::from(value);
                    }
                }
                out.extend(mixed);
            }
        }
        out
    }
}
