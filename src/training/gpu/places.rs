//! Where the activations of a training pass lie, in quads of four numbers.
//!
//! Kept through the pass is the residual stream at each layer's entrance. Of the last layers, as
//! many as there is room for, everything else is kept too; the others share one workspace, which is
//! filled again on the way back.

use crate::forward::gpu::adapter_places::GROUPS;
use crate::model::ModelConfig;

/// Rows of logits that exist at once.
pub const CHUNK: u32 = 32;

/// What a layer leaves for its way back.
#[derive(Debug, Clone, Copy)]
pub struct LayerPlaces {
    /// The norm of the layer's entrance.
    pub first_norm: u32,
    /// Query, key and value as the matrices give them, with biases.
    pub projected: u32,
    /// Turned queries.
    pub query: u32,
    /// Turned keys.
    pub key: u32,
    /// What the heads give.
    pub attended: u32,
    /// The logarithm of the sum of a head's weights.
    pub lse: u32,
    /// The residual stream behind attention.
    pub middle: u32,
    /// Its norm.
    pub second_norm: u32,
    /// Gate, then its gradient.
    pub gate: u32,
    /// Up, then its gradient.
    pub up: u32,
    /// `silu(gate) * up`.
    pub hidden: u32,
    /// What first factors of adapters make of their inputs, for each group of matrices that share
    /// their inputs.
    pub low: [u32; GROUPS],
}

/// Gradients on their way back through a layer.
#[derive(Debug, Clone, Copy)]
pub struct GradientPlaces {
    /// Of the residual stream.
    pub residual: u32,
    /// Of a norm.
    pub norm: u32,
    /// Of `silu(gate) * up`.
    pub hidden: u32,
    /// Of what the heads give.
    pub attended: u32,
    /// Of turned queries.
    pub query: u32,
    /// Of turned keys.
    pub key: u32,
    /// Of the products.
    pub projected: u32,
    /// Output times gradient, per head.
    pub delta: u32,
    /// What second factors of adapters make of the gradients.
    pub low: [u32; GROUPS],
}

/// All places.
#[derive(Debug, Clone)]
pub struct TrainingPlaces {
    /// The residual stream at each layer's entrance, and behind the last.
    pub residual: Vec<u32>,
    /// What layers leave: the first is shared by all that have none of their own, the others are
    /// those of the last layers.
    work: Vec<LayerPlaces>,
    /// Gradients.
    pub gradients: GradientPlaces,
    /// The last norm of a chunk of wanted columns.
    pub last_norm: u32,
    /// Their logits, then the gradients of these.
    pub logits: u32,
    /// Gradients of the last norm of all wanted columns.
    pub last_norm_gradient: u32,
    /// Quads of all.
    pub quads: u64,
}

/// Quads of a row of logits: groups of 64 rows are computed whole.
pub fn logits_quads(config: &ModelConfig) -> u32 {
    config.vocab_size.next_multiple_of(64) / 4
}

struct NextPlace(u64);

impl NextPlace {
    fn place(&mut self, quads: u64) -> u32 {
        let first = self.0;
        self.0 += quads;
        // What does not fit is refused by the number of quads before anything reads a place.
        u32::try_from(first).unwrap_or(u32::MAX)
    }
}

impl TrainingPlaces {
    /// Places for so many columns and so many quads of rank per group of matrices, in at most so
    /// many quads where that can be.
    pub fn new(config: &ModelConfig, columns: u32, ranks: [u32; GROUPS], most: u64) -> Self {
        let least = Self::keeping(config, columns, ranks, 0);
        let each = Self::keeping(config, columns, ranks, 1).quads - least.quads;
        let room = most.saturating_sub(least.quads) / each.max(1);
        let own = config.layer_count.saturating_sub(1).min(u32::try_from(room).unwrap_or(u32::MAX));
        Self::keeping(config, columns, ranks, own)
    }

    /// What a layer leaves.
    pub fn work(&self, layer: usize) -> LayerPlaces {
        let layers = self.residual.len() - 1;
        self.work[(layer + self.work.len()).saturating_sub(layers)]
    }

    /// The layers that keep what they leave until they are gone back through: from this one on.
    pub fn first_kept(&self) -> usize {
        (self.residual.len() - 1).saturating_sub(self.work.len())
    }

    /// With a workspace of their own for the last `own` layers.
    fn keeping(config: &ModelConfig, columns: u32, ranks: [u32; GROUPS], own: u32) -> Self {
        let mut next = NextPlace(0);
        let columns = u64::from(columns);
        let [width, query, kv, hidden] =
            [config.embedding_size, config.query_size(), config.kv_size(), config.hidden_size]
                .map(|numbers| columns * u64::from(numbers / 4));
        let heads = columns * u64::from(config.head_count);
        let lows = ranks.map(|quads| columns * u64::from(quads));
        let residual = (0..=config.layer_count).map(|_| next.place(width)).collect();
        let mut workspace = |_| LayerPlaces {
            first_norm: next.place(width),
            projected: next.place(query + 2 * kv),
            query: next.place(query),
            key: next.place(kv),
            attended: next.place(query),
            lse: next.place(heads),
            middle: next.place(width),
            second_norm: next.place(width),
            gate: next.place(hidden),
            up: next.place(hidden),
            hidden: next.place(hidden),
            low: lows.map(|quads| next.place(quads)),
        };
        let work = (0..=own).map(&mut workspace).collect();
        let gradients = GradientPlaces {
            residual: next.place(width),
            norm: next.place(width),
            hidden: next.place(hidden),
            attended: next.place(query),
            query: next.place(query),
            key: next.place(kv),
            projected: next.place(query + 2 * kv),
            delta: next.place(heads),
            low: lows.map(|quads| next.place(quads)),
        };
        let chunk = u64::from(CHUNK);
        let last_norm = next.place(chunk * u64::from(config.embedding_size / 4));
        let logits = next.place(chunk * u64::from(logits_quads(config)));
        let last_norm_gradient = next.place(width);
        Self { residual, work, gradients, last_norm, logits, last_norm_gradient, quads: next.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::{Architecture, RopeKind, RopeScaling};

    fn five_layers() -> ModelConfig {
        ModelConfig {
            architecture: Architecture::Llama,
            vocab_size: 301,
            layer_count: 5,
            embedding_size: 96,
            head_count: 12,
            kv_head_count: 4,
            head_size: 24,
            hidden_size: 160,
            context_length: 64,
            rope_size: 16,
            rope_base: 10_000.0,
            rope_kind: RopeKind::Pairs,
            rope_scaling: RopeScaling::None,
            rope_scale_factor: 1.0,
            rope_original_context: 0,
            rope_attention_factor: 1.0,
            norm_epsilon: 1e-5,
            tied_embeddings: true,
            qkv_biases: false,
            output_biases: false,
            feed_forward_biases: false,
            qk_norms: false,
        }
    }

    #[test]
    fn the_last_layers_keep_what_they_leave_where_there_is_room() {
        let config = five_layers();
        let ranks = [6, 2, 4, 2];
        let least = TrainingPlaces::new(&config, 8, ranks, 0);
        assert_eq!(least.first_kept(), 4, "the last finds what it left as it was");
        assert!((0..5).all(|layer| least.work(layer).gate == least.work(0).gate));
        let all = TrainingPlaces::new(&config, 8, ranks, u64::MAX);
        assert_eq!(all.first_kept(), 0);
        let each = (all.quads - least.quads) / 4;
        let some = TrainingPlaces::new(&config, 8, ranks, least.quads + 2 * each + 1);
        assert_eq!((some.first_kept(), some.quads), (2, least.quads + 2 * each));
        let gates: Vec<u32> = (0..5).map(|layer| some.work(layer).gate).collect();
        assert_eq!(gates[0], gates[2]);
        assert!(gates[2] < gates[3] && gates[3] < gates[4], "{gates:?}");
    }
}
