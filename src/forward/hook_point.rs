//! The places in the forward pass where a caller may watch or change values, on the CPU and on the
//! GPU.

use std::fmt;

use crate::model::ModelConfig;

/// A place in the forward pass; layers count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookPoint {
    /// The token embedding: the residual stream before the first layer.
    Embedding,
    /// The norm that query, key and value are made from.
    AttentionNorm(u32),
    /// Query as attention reads it: after bias, per-head norm and RoPE; heads side by side.
    Query(u32),
    /// Key as it goes into the cache: after bias, per-head norm and RoPE; KV heads side by side.
    Key(u32),
    /// Value as it goes into the cache; KV heads side by side.
    Value(u32),
    /// What each head gives; heads side by side. On the CPU before its factor, on the GPU after it.
    HeadOutput(u32),
    /// What attention adds to the residual stream, before the layer's factor.
    AttentionOutput(u32),
    /// The norm that gate and up are made from.
    FeedForwardNorm(u32),
    /// Gate, before its activation function.
    Gate(u32),
    /// Up, before the activated gate is multiplied with it.
    Up(u32),
    /// `silu(gate) * up`, which down reads.
    Hidden(u32),
    /// What the feed-forward block adds to the residual stream, before the layer's factor.
    FeedForwardOutput(u32),
    /// The residual stream after the layer.
    Residual(u32),
    /// The last norm, for the columns that want logits.
    FinalNorm,
    /// The logits, for the columns that want them.
    Logits,
}

impl HookPoint {
    /// The layer that it is in.
    pub fn layer(self) -> Option<u32> {
        match self {
            Self::Embedding | Self::FinalNorm | Self::Logits => None,
            Self::AttentionNorm(layer)
            | Self::Query(layer)
            | Self::Key(layer)
            | Self::Value(layer)
            | Self::HeadOutput(layer)
            | Self::AttentionOutput(layer)
            | Self::FeedForwardNorm(layer)
            | Self::Gate(layer)
            | Self::Up(layer)
            | Self::Hidden(layer)
            | Self::FeedForwardOutput(layer)
            | Self::Residual(layer) => Some(layer),
        }
    }

    /// Whether only columns that want logits come there.
    pub(crate) fn is_of_logits(self) -> bool {
        matches!(self, Self::FinalNorm | Self::Logits)
    }

    /// All places of a model, in the order in which a pass comes to them.
    pub fn all(config: &ModelConfig) -> impl Iterator<Item = Self> + use<> {
        let of_layer = |layer| {
            [
                Self::AttentionNorm(layer),
                Self::Query(layer),
                Self::Key(layer),
                Self::Value(layer),
                Self::HeadOutput(layer),
                Self::AttentionOutput(layer),
                Self::FeedForwardNorm(layer),
                Self::Gate(layer),
                Self::Up(layer),
                Self::Hidden(layer),
                Self::FeedForwardOutput(layer),
                Self::Residual(layer),
            ]
        };
        let layers = (0..config.layer_count).flat_map(of_layer);
        [Self::Embedding].into_iter().chain(layers).chain([Self::FinalNorm, Self::Logits])
    }

    /// How many values a column has there.
    pub fn features(self, config: &ModelConfig) -> u32 {
        match self {
            Self::Embedding
            | Self::AttentionNorm(_)
            | Self::AttentionOutput(_)
            | Self::FeedForwardNorm(_)
            | Self::FeedForwardOutput(_)
            | Self::Residual(_)
            | Self::FinalNorm => config.embedding_size,
            Self::Query(_) | Self::HeadOutput(_) => config.query_size(),
            Self::Key(_) | Self::Value(_) => config.kv_size(),
            Self::Gate(_) | Self::Up(_) | Self::Hidden(_) => config.hidden_size,
            Self::Logits => config.vocab_size,
        }
    }

    /// What it is called, without its layer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::AttentionNorm(_) => "attention norm",
            Self::Query(_) => "query",
            Self::Key(_) => "key",
            Self::Value(_) => "value",
            Self::HeadOutput(_) => "head output",
            Self::AttentionOutput(_) => "attention output",
            Self::FeedForwardNorm(_) => "feed-forward norm",
            Self::Gate(_) => "gate",
            Self::Up(_) => "up",
            Self::Hidden(_) => "hidden",
            Self::FeedForwardOutput(_) => "feed-forward output",
            Self::Residual(_) => "residual",
            Self::FinalNorm => "final norm",
            Self::Logits => "logits",
        }
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.layer().map_or(Ok(()), |layer| write!(f, " of layer {layer}"))
    }
}
