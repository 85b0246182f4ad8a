//! The hyperparameters of a model, read from GGUF metadata and checked for sense.

use std::fmt;

use super::error::ModelError;
use super::gguf::Metadata;

/// More layers than this no model of these families has; it bounds what a hostile file can make a
/// reader do.
pub(crate) const MAX_LAYERS: u32 = 1024;
/// The largest width that a field may state: fits every sum and product of two of them in 64 bits.
const MAX_WIDTH: u32 = 1 << 24;

/// A family of models with one forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u16)]
pub enum Architecture {
    /// Llama, SmolLM and their kin: neighbouring pairs in RoPE.
    Llama = 1,
    /// Qwen 2 and 2.5: query, key and value biases, halves in RoPE.
    Qwen2 = 2,
    /// Qwen 3: norms on query and key, halves in RoPE.
    Qwen3 = 3,
}

impl Architecture {
    const ALL: [Self; 3] = [Self::Llama, Self::Qwen2, Self::Qwen3];

    /// The name GGUF uses in `general.architecture` and as prefix of its keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// The family that GGUF calls by this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which dimensions of a head RoPE turns together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum RopeKind {
    /// Dimensions 2i and 2i + 1.
    Pairs = 0,
    /// Dimensions i and i + rope_size / 2.
    Halves = 1,
}

/// How RoPE's angles are stretched for long contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum RopeScaling {
    /// Angles are not stretched.
    None = 0,
    /// Positions divided by the factor.
    Linear = 1,
    /// YaRN (Peng et al. 2023).
    Yarn = 2,
    /// A factor per frequency in `rope_freqs.weight`.
    Llama3 = 3,
}

/// Everything about a model's shape that the forward pass and the map need.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ModelConfig {
    /// The family, which settles the forward pass.
    pub architecture: Architecture,
    /// Tokens in the vocabulary.
    pub vocab_size: u32,
    /// Transformer layers; at most [`MAX_LAYERS`].
    pub layer_count: u32,
    /// Width of the residual stream.
    pub embedding_size: u32,
    /// Query heads of a layer.
    pub head_count: u32,
    /// Key and value heads; divides `head_count`.
    pub kv_head_count: u32,
    /// Dimensions of one head.
    pub head_size: u32,
    /// Width of the feed-forward block.
    pub hidden_size: u32,
    /// Tokens the model was made for.
    pub context_length: u32,
    /// Dimensions of a head that RoPE turns.
    pub rope_size: u32,
    /// RoPE's base; 10,000 where the file does not say.
    pub rope_base: f32,
    /// Which dimensions turn together.
    pub rope_kind: RopeKind,
    /// How angles are stretched.
    pub rope_scaling: RopeScaling,
    /// The factor of the stretch; 1 when there is none.
    pub rope_scale_factor: f32,
    /// Context length before the stretch; 0 when unknown.
    pub rope_original_context: u32,
    /// What turned dimensions are multiplied with, beside what YaRN does; 1 where the file does not
    /// say.
    pub rope_attention_factor: f32,
    /// Epsilon of the RMS norms.
    pub norm_epsilon: f32,
    /// The output matrix is the token embedding.
    pub tied_embeddings: bool,
    /// Query, key or value have biases, in some layer at least.
    pub qkv_biases: bool,
    /// The attention's output has a bias, in some layer at least.
    pub output_biases: bool,
    /// Gate, up or down have a bias, in some layer at least.
    pub feed_forward_biases: bool,
    /// Query and key are normalised per head.
    pub qk_norms: bool,
}

impl ModelConfig {
    /// Reads the configuration from GGUF metadata. `has_tensor` tells whether the file has a tensor
    /// of a name, which settles what metadata does not say: tied embeddings, biases, llama3 RoPE
    /// factors.
    ///
    /// # Errors
    /// Names the key that is missing, of the wrong type or without sense.
    pub fn from_metadata(
        metadata: &Metadata,
        has_tensor: impl Fn(&str) -> bool,
    ) -> Result<Self, ModelError> {
        let keys = ConfigKeys::new(metadata)?;
        let architecture = keys.architecture;
        let head_count = keys.size("attention.head_count")?;
        let kv_head_count = keys.optional_size("attention.head_count_kv")?.unwrap_or(head_count);
        let embedding_size = keys.size("embedding_length")?;
        let head_size = keys.head_size(embedding_size, head_count)?;
        let rope_size = keys.optional_size("rope.dimension_count")?.unwrap_or(head_size);
        let layer_count = keys.size("block_count")?;
        // The count is checked only below; a made-up one may be 2^24.
        let some_layer_has = |names: &[&str]| {
            (0..layer_count.min(MAX_LAYERS))
                .any(|layer| names.iter().any(|name| has_tensor(&format!("blk.{layer}.{name}"))))
        };
        let config = Self {
            architecture,
            vocab_size: keys.vocab_size()?,
            layer_count,
            embedding_size,
            head_count,
            kv_head_count,
            head_size,
            hidden_size: keys.size("feed_forward_length")?,
            context_length: keys.size("context_length")?,
            rope_size,
            rope_base: keys.optional_float("rope.freq_base")?.unwrap_or(10_000.0),
            // llama.cpp's converter permutes the rows of Q and K of this family, so that pairs lie
            // side by side.
            rope_kind: if architecture == Architecture::Llama {
                RopeKind::Pairs
            } else {
                RopeKind::Halves
            },
            rope_scaling: keys.rope_scaling(has_tensor("rope_freqs.weight"))?,
            rope_scale_factor: keys.rope_factor()?,
            rope_original_context: keys
                .optional_size("rope.scaling.original_context_length")?
                .unwrap_or(0),
            rope_attention_factor: keys.optional_float("rope.scaling.attn_factor")?.unwrap_or(1.0),
            norm_epsilon: keys.float("attention.layer_norm_rms_epsilon")?,
            tied_embeddings: !has_tensor("output.weight"),
            qkv_biases: some_layer_has(&["attn_q.bias", "attn_k.bias", "attn_v.bias"]),
            output_biases: some_layer_has(&["attn_output.bias"]),
            feed_forward_biases: some_layer_has(&["ffn_gate.bias", "ffn_up.bias", "ffn_down.bias"]),
            qk_norms: has_tensor("blk.0.attn_q_norm.weight"),
        };
        config.check(&keys)?;
        Ok(config)
    }

    /// What the metadata asks of the computation and is not done, a line each for a person to read:
    /// settings that llama.cpp does not read for these families either.
    pub fn warnings(&self, metadata: &Metadata) -> Vec<String> {
        let unread = ["log_multiplier", "ext_factor", "attn_factor", "beta_fast", "beta_slow"];
        let keys = unread.map(|name| format!("{}.rope.scaling.yarn_{name}", self.architecture));
        let stated = keys.into_iter().filter(|key| metadata.get(key).is_some());
        stated
            .map(|key| {
                format!(
                    "{key} is not used: llama.cpp does not read it for this family, and answers \
                     are equal"
                )
            })
            .collect()
    }

    /// Query heads that share one key and value head.
    pub fn heads_per_kv(&self) -> u32 {
        self.head_count / self.kv_head_count
    }

    /// Width of the query: all heads side by side.
    pub fn query_size(&self) -> u32 {
        self.head_count * self.head_size
    }

    /// Width of the key, and of the value.
    pub fn kv_size(&self) -> u32 {
        self.kv_head_count * self.head_size
    }

    fn check(&self, keys: &ConfigKeys) -> Result<(), ModelError> {
        let bad = |key: &str, problem: String| Err(ModelError::metadata(keys.full(key), problem));
        if self.layer_count > MAX_LAYERS {
            return bad(
                "block_count",
                format!("{} layers, at most {MAX_LAYERS} expected", self.layer_count),
            );
        }
        if !self.head_count.is_multiple_of(self.kv_head_count) {
            let problem =
                format!("{} KV heads do not divide {} heads", self.kv_head_count, self.head_count);
            return bad("attention.head_count_kv", problem);
        }
        if !self.head_size.is_multiple_of(2) {
            return bad("attention.key_length", format!("head size {} is odd", self.head_size));
        }
        if u64::from(self.head_count) * u64::from(self.head_size) > u64::from(MAX_WIDTH) {
            let problem = format!("{} heads of {} are too wide", self.head_count, self.head_size);
            return bad("attention.head_count", problem);
        }
        if self.rope_size > self.head_size || !self.rope_size.is_multiple_of(2) {
            let problem = format!(
                "{}, expected an even number up to the head size {}",
                self.rope_size, self.head_size
            );
            return bad("rope.dimension_count", problem);
        }
        if !(self.rope_base.is_finite() && self.rope_base > 0.0) {
            return bad("rope.freq_base", format!("{} is no positive number", self.rope_base));
        }
        if !self.rope_attention_factor.is_finite() {
            let problem = format!("{} is no number", self.rope_attention_factor);
            return bad("rope.scaling.attn_factor", problem);
        }
        if !(self.norm_epsilon.is_finite() && self.norm_epsilon >= 0.0) {
            let problem = format!("{} is no number from 0 up", self.norm_epsilon);
            return bad("attention.layer_norm_rms_epsilon", problem);
        }
        Ok(())
    }
}

/// Typed access to the pairs of one architecture.
struct ConfigKeys<'a> {
    metadata: &'a Metadata,
    architecture: Architecture,
}

impl<'a> ConfigKeys<'a> {
    fn new(metadata: &'a Metadata) -> Result<Self, ModelError> {
        let key = "general.architecture";
        let name = metadata.str(key)?.ok_or_else(|| ModelError::metadata(key, "missing"))?;
        let architecture = Architecture::named(name).ok_or_else(|| {
            let names = Architecture::ALL.map(Architecture::name).join(", ");
            ModelError::metadata(key, format!("{name:?} is not supported; supported are {names}"))
        })?;
        let keys = Self { metadata, architecture };
        // A model without experts may state 0 of them.
        if keys.optional_size_or_zero("expert_count")?.is_some_and(|count| count > 0) {
            return Err(ModelError::metadata(
                keys.full("expert_count"),
                "mixtures of experts are not supported",
            ));
        }
        if keys.metadata.bool(&keys.full("attention.causal"))? == Some(false) {
            let problem = "false: tokens that see those after them are not supported";
            return Err(ModelError::metadata(keys.full("attention.causal"), problem));
        }
        Ok(keys)
    }

    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn optional_size_or_zero(&self, key: &str) -> Result<Option<u32>, ModelError> {
        let full = self.full(key);
        match self.metadata.u64(&full)? {
            Some(size) if size > u64::from(MAX_WIDTH) => Err(ModelError::metadata(
                full,
                format!("found {size}, expected at most {MAX_WIDTH}"),
            )),
            size => Ok(size.map(|size| size as u32)),
        }
    }

    fn optional_size(&self, key: &str) -> Result<Option<u32>, ModelError> {
        match self.optional_size_or_zero(key)? {
            Some(0) => Err(ModelError::metadata(self.full(key), "found 0, expected 1 or more")),
            size => Ok(size),
        }
    }

    fn size(&self, key: &str) -> Result<u32, ModelError> {
        self.optional_size(key)?.ok_or_else(|| ModelError::metadata(self.full(key), "missing"))
    }

    fn optional_float(&self, key: &str) -> Result<Option<f32>, ModelError> {
        Ok(self.metadata.f32(&self.full(key))?)
    }

    fn float(&self, key: &str) -> Result<f32, ModelError> {
        self.optional_float(key)?.ok_or_else(|| ModelError::metadata(self.full(key), "missing"))
    }

    fn head_size(&self, embedding_size: u32, head_count: u32) -> Result<u32, ModelError> {
        let key = self.optional_size("attention.key_length")?;
        let value = self.optional_size("attention.value_length")?;
        match (key, value) {
            (Some(key), Some(value)) if key != value => Err(ModelError::metadata(
                self.full("attention.value_length"),
                format!("{value} differs from the key length {key}, which is not supported"),
            )),
            (Some(size), _) | (None, Some(size)) => Ok(size),
            (None, None) if embedding_size.is_multiple_of(head_count) => {
                Ok(embedding_size / head_count)
            }
            (None, None) => Err(ModelError::metadata(
                self.full("attention.head_count"),
                format!(
                    "{head_count} heads do not divide the embedding's {embedding_size}, and no key \
                     length is given"
                ),
            )),
        }
    }

    fn vocab_size(&self) -> Result<u32, ModelError> {
        let key = "tokenizer.ggml.tokens";
        let tokens = self.metadata.array(key)?.map(|tokens| tokens.len() as u64);
        let stated = self.optional_size("vocab_size")?;
        match (tokens, stated) {
            (Some(0), _) => Err(ModelError::metadata(key, "is empty")),
            (Some(count), Some(stated)) if count != u64::from(stated) => Err(ModelError::metadata(
                key,
                format!("{count} tokens, but {} is {stated}", self.full("vocab_size")),
            )),
            (Some(count), _) if count <= u64::from(MAX_WIDTH) => Ok(count as u32),
            (Some(count), _) => {
                Err(ModelError::metadata(key, format!("{count} tokens are too many")))
            }
            (None, Some(stated)) => Ok(stated),
            (None, None) => Err(ModelError::metadata(key, "missing")),
        }
    }

    fn rope_scaling(&self, has_factors: bool) -> Result<RopeScaling, ModelError> {
        let key = self.full("rope.scaling.type");
        match self.metadata.str(&key)? {
            // Llama 3's files have the factors as a tensor, and state no type.
            None | Some("none") if has_factors => Ok(RopeScaling::Llama3),
            // Older files state a factor alone, which llama.cpp takes for linear scaling.
            None if self.rope_factor()? != 1.0 => Ok(RopeScaling::Linear),
            None | Some("none") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear),
            Some("yarn") => Ok(RopeScaling::Yarn),
            Some(other) => Err(ModelError::metadata(
                key,
                format!("found {other:?}, expected none, linear or yarn"),
            )),
        }
    }

    fn rope_factor(&self) -> Result<f32, ModelError> {
        // `rope.scale_linear` is what older files call it.
        let key = if self.optional_float("rope.scaling.factor")?.is_some() {
            "rope.scaling.factor"
        } else {
            "rope.scale_linear"
        };
        // Nothing divides by 0: llama.cpp takes it for no stretch.
        let factor = self.optional_float(key)?.filter(|&factor| factor != 0.0).unwrap_or(1.0);
        if factor.is_finite() && factor > 0.0 {
            Ok(factor)
        } else {
            Err(ModelError::metadata(self.full(key), format!("{factor} is no positive number")))
        }
    }
}
