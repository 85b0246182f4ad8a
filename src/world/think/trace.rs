//! What took part in a token's step: norms of all that was made, and the values from which
//! attention and lens are told.

use std::sync::Arc;

use crate::forward::{Hook, HookPoint, Watched};
use crate::model::ModelConfig;

/// What is watched of every column of a step, in the order in which [`SeenColumn::of_column`] reads
/// it.
pub(super) fn hooks(config: &ModelConfig, columns: u32) -> Vec<Hook> {
    let of_layer = |layer| {
        [
            HookPoint::Residual(layer),
            HookPoint::HeadOutput(layer),
            HookPoint::Query(layer),
            HookPoint::Hidden(layer),
            HookPoint::Key(layer),
        ]
    };
    let of_layers = (0..config.layer_count).flat_map(of_layer);
    let points = [HookPoint::Embedding].into_iter().chain(of_layers);
    points.map(|point| Hook::watch(point, 0..columns)).collect()
}

/// The values of a position, as the kernels made them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenTrace {
    /// The residual stream: the embedding, then after each layer.
    pub residual: Vec<f32>,
    /// Queries as attention reads them: layer by layer, heads side by side.
    pub query: Vec<f32>,
    /// Keys as they are in the cache: layer by layer, key heads side by side.
    pub key: Vec<f32>,
}

impl TokenTrace {
    /// Bytes that it takes.
    pub fn size_in_bytes(&self) -> usize {
        (self.residual.len() + self.query.len() + self.key.len()) * size_of::<f32>()
    }
}

/// What heads and fields gave at a position, before the matrices that bring it into the stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LayerOutputs {
    /// What heads gave, after their factors: layer by layer, heads side by side.
    pub heads: Vec<f32>,
    /// What the neurons of the fields held, layer by layer.
    pub fields: Vec<f32>,
}

impl LayerOutputs {
    /// Bytes that they take.
    pub fn size_in_bytes(&self) -> usize {
        (self.heads.len() + self.fields.len()) * size_of::<f32>()
    }
}

/// What was seen of a position.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenColumn {
    /// Norm of the residual stream after each layer.
    pub residual_norms: Vec<f32>,
    /// Norm of what each layer added to it.
    pub added_norms: Vec<f32>,
    /// Norm of what each head gave, layer by layer.
    pub head_norms: Vec<f32>,
    /// Norm of each layer's feed-forward activity.
    pub hidden_norms: Vec<f32>,
    /// The values of which norms of the stream are, and those that attention is told from.
    pub trace: TokenTrace,
    /// The values of which the other norms are.
    pub outputs: LayerOutputs,
}

impl SeenColumn {
    /// What hooks saw of one column, in the order of [`hooks`].
    pub(super) fn of_column(watched: &[Watched], column: usize, config: &ModelConfig) -> Self {
        let mut seen = Self::default();
        let size = config.embedding_size as usize;
        for watch in watched {
            let values = watch.column(column);
            match watch.point {
                HookPoint::Embedding => seen.trace.residual.extend_from_slice(values),
                HookPoint::Residual(_) => {
                    // Watched from the embedding on: the last values are what the layer was given.
                    let before = &seen.trace.residual[seen.trace.residual.len() - size..];
                    let added: f32 =
                        values.iter().zip(before).map(|(a, b)| (a - b) * (a - b)).sum();
                    seen.added_norms.push(added.sqrt());
                    seen.residual_norms.push(norm(values));
                    seen.trace.residual.extend_from_slice(values);
                }
                HookPoint::HeadOutput(_) => {
                    let heads = values.chunks(config.head_size.max(1) as usize);
                    seen.head_norms.extend(heads.map(norm));
                    seen.outputs.heads.extend_from_slice(values);
                }
                HookPoint::Query(_) => seen.trace.query.extend_from_slice(values),
                HookPoint::Hidden(_) => {
                    seen.hidden_norms.push(norm(values));
                    seen.outputs.fields.extend_from_slice(values);
                }
                HookPoint::Key(_) => seen.trace.key.extend_from_slice(values),
                _ => {}
            }
        }
        seen
    }
}

fn norm(values: &[f32]) -> f32 {
    values.iter().map(|value| value * value).sum::<f32>().sqrt()
}

/// Where a head of the last of some positions looked: a share for each of them, which sum to one.
/// `None` where a position was not kept, or the model has no such head.
pub fn attention<'a>(
    traces: impl DoubleEndedIterator<Item = Option<&'a Arc<TokenTrace>>> + Clone,
    config: &ModelConfig,
    layer: u32,
    head: u32,
) -> Option<Vec<f32>> {
    // A head too many would read the next layer's, and `get` would not notice.
    if layer >= config.layer_count || head >= config.head_count {
        return None;
    }
    let size = config.head_size as usize;
    let query_start = (layer * config.query_size()) as usize + head as usize * size;
    // In grouped-query attention several query heads read one key head.
    let key_start =
        (layer * config.kv_size()) as usize + (head / config.heads_per_kv()) as usize * size;
    let query = traces.clone().next_back()??.query.get(query_start..query_start + size)?;
    let scale = 1.0 / (size as f32).sqrt();
    let score = |trace: Option<&'a Arc<TokenTrace>>| {
        let key = trace?.key.get(key_start..key_start + size)?;
        Some(query.iter().zip(key).map(|(query, key)| query * key).sum::<f32>() * scale)
    };
    let mut shares: Vec<f32> = traces.map(score).collect::<Option<_>>()?;
    // Less the largest, no power overflows.
    let most = shares.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    shares.iter_mut().for_each(|share| *share = (*share - most).exp());
    let sum: f32 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= sum);
    Some(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_looks_where_key_and_query_agree_and_nowhere_if_one_was_not_kept() {
        let model = crate::app::kinds::assets().default_model().unwrap();
        let config = model.config();
        let position = |value: f32| {
            let layers = config.layer_count as usize;
            let mut trace = TokenTrace {
                query: vec![0.0; layers * config.query_size() as usize],
                key: vec![0.0; layers * config.kv_size() as usize],
                ..TokenTrace::default()
            };
            // The second head of the second layer.
            trace.query[config.query_size() as usize + config.head_size as usize] = 40.0;
            let group = (1 / config.heads_per_kv() * config.head_size) as usize;
            trace.key[config.kv_size() as usize + group] = value;
            Some(Arc::new(trace))
        };
        let traces = [position(0.0), position(9.0), position(0.0)];
        let shares = attention(traces.iter().map(Option::as_ref), config, 1, 1).unwrap();
        assert!(shares[1] > 0.9 && (shares.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{shares:?}");
        let even = attention(traces.iter().map(Option::as_ref), config, 0, 0).unwrap();
        assert!(even.iter().all(|share| (share - 1.0 / 3.0).abs() < 1e-6), "{even:?}");
        let lost = [position(0.0), None, position(0.0)];
        assert_eq!(attention(lost.iter().map(Option::as_ref), config, 1, 1), None);
        assert_eq!(
            attention(traces.iter().map(Option::as_ref), config, 0, config.head_count),
            None
        );
    }
}
