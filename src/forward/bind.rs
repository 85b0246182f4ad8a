//! Binds the tensors of a model to the kernels, for the processor and for an adapter: which tensor
//! a kernel reads by which name, and the parameters of every kernel of a layer.
//!
//! In: a [`PixelModel`]. Out: a [`BoundModel`], whose matrices stay in their tiles; its vectors are
//! a few thousand numbers and are decoded here, so that no pass need decode them.

use super::params::{
    AttendParams, DownParams, EmbedParams, GateUpParams, LayerParams, LogitsParams, MatrixParams,
    ProjectParams, QkvParams, RopeParams,
};
use crate::model::quant::dequantize;
use crate::model::tensors::unused;
use crate::model::{ModelConfig, PixelModel};

/// The token embeddings, which are the output matrix too where a model has no other.
const EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";
/// The norm before the output matrix.
pub(super) const OUTPUT_NORM: &str = "output_norm.weight";
/// Divisors of RoPE's frequencies.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Why a model's tensors are not those that the kernels read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// A tensor that the family needs is not there, or has the wrong layout.
    #[error("tensor {0}: missing, or a vector where a matrix is needed; convert the model again")]
    Tensor(String),
    /// A tensor that the forward pass does not use: an answer without it would be wrong.
    #[error(
        "tensor {0:?} is not used by the forward pass, so answers would be wrong; \
         the model can only be looked at"
    )]
    Unused(String),
}

/// A matrix: what kernels are told of it, and how it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BoundMatrix {
    pub params: MatrixParams,
    /// The tensor's place in the file's table.
    pub tensor: usize,
    #[cfg(feature = "world")]
    pub encoding: crate::model::Encoding,
    /// Bytes of its tiles.
    #[cfg(feature = "world")]
    pub bytes: u64,
}

impl BoundMatrix {
    /// Row groups of 64 rows.
    pub fn groups(&self) -> u32 {
        self.params.rows.div_ceil(64)
    }
}

/// A vector of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayerVector {
    AttentionNorm,
    QueryBias,
    KeyBias,
    ValueBias,
    QueryNorm,
    KeyNorm,
    OutputBias,
    FeedForwardNorm,
    GateBias,
    UpBias,
    DownBias,
}

impl LayerVector {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 11] = [
        Self::AttentionNorm,
        Self::QueryBias,
        Self::KeyBias,
        Self::ValueBias,
        Self::QueryNorm,
        Self::KeyNorm,
        Self::OutputBias,
        Self::FeedForwardNorm,
        Self::GateBias,
        Self::UpBias,
        Self::DownBias,
    ];

    /// Its GGUF name behind `blk.LAYER.`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AttentionNorm => "attn_norm.weight",
            Self::QueryBias => "attn_q.bias",
            Self::KeyBias => "attn_k.bias",
            Self::ValueBias => "attn_v.bias",
            Self::QueryNorm => "attn_q_norm.weight",
            Self::KeyNorm => "attn_k_norm.weight",
            Self::OutputBias => "attn_output.bias",
            Self::FeedForwardNorm => "ffn_norm.weight",
            Self::GateBias => "ffn_gate.bias",
            Self::UpBias => "ffn_up.bias",
            Self::DownBias => "ffn_down.bias",
        }
    }

    /// The layer and the vector that a tensor's name says.
    #[cfg(feature = "world")]
    pub fn named(tensor: &str) -> Option<(usize, Self)> {
        let (layer, name) = tensor.strip_prefix("blk.")?.split_once('.')?;
        let vector = Self::ALL.into_iter().find(|vector| vector.name() == name)?;
        Some((layer.parse().ok()?, vector))
    }

    /// Its numbers in a model that has it.
    #[cfg(feature = "world")]
    pub fn size(self, config: &ModelConfig) -> u32 {
        match self {
            Self::QueryBias => config.query_size(),
            Self::KeyBias | Self::ValueBias => config.kv_size(),
            Self::QueryNorm | Self::KeyNorm => config.head_size,
            Self::GateBias | Self::UpBias => config.hidden_size,
            Self::AttentionNorm | Self::OutputBias | Self::FeedForwardNorm | Self::DownBias => {
                config.embedding_size
            }
        }
    }
}

/// The tensors of a layer.
#[derive(Debug)]
pub(crate) struct BoundLayer {
    index: u32,
    /// Query, key and value.
    pub qkv: [BoundMatrix; 3],
    pub output: BoundMatrix,
    pub gate: BoundMatrix,
    pub up: BoundMatrix,
    pub down: BoundMatrix,
    vectors: [Vec<f32>; LayerVector::ALL.len()],
}

impl BoundLayer {
    /// The numbers of a vector; none where the layer has no such vector.
    pub fn vector(&self, vector: LayerVector) -> &[f32] {
        &self.vectors[vector as usize]
    }

    /// The matrices, gate and up side by side.
    #[cfg(feature = "world")]
    pub fn matrices(&self) -> [&BoundMatrix; 7] {
        let [query, key, value] = &self.qkv;
        [query, key, value, &self.output, &self.gate, &self.up, &self.down]
    }

    /// The parameters of its kernels, for up to so many columns.
    pub fn params(&self, config: &ModelConfig, columns: u32, layer_scale: f32) -> LayerParams {
        let (layer, norm_epsilon, head_size) = (self.index, config.norm_epsilon, config.head_size);
        let [query, key, value] = self.qkv.map(|matrix| matrix.params);
        LayerParams {
            qkv: QkvParams {
                query,
                key,
                value,
                rope: rope_params(config),
                columns,
                layer,
                head_size,
                norm_epsilon,
                has_biases: u32::from(config.qkv_biases),
                has_head_norms: u32::from(config.qk_norms),
                padding: [0; 2],
            },
            attend: AttendParams {
                columns,
                layer,
                head_count: config.head_count,
                heads_per_kv: config.heads_per_kv(),
                head_size,
                score_scale: 1.0 / (head_size as f32).sqrt(),
                padding: [0; 2],
            },
            project: ProjectParams {
                matrix: self.output.params,
                columns,
                head_count: config.head_count,
                head_size,
                layer_scale,
            },
            gate_up: GateUpParams {
                gate: self.gate.params,
                up: self.up.params,
                columns,
                norm_epsilon,
                padding: [0; 2],
            },
            down: DownParams { matrix: self.down.params, columns, layer_scale, padding: [0; 2] },
        }
    }
}

/// The tensors of a model.
#[derive(Debug)]
pub(crate) struct BoundModel {
    pub embedding: BoundMatrix,
    pub layers: Vec<BoundLayer>,
    pub output_norm: Vec<f32>,
    /// The norm's place in the file's table.
    pub output_norm_tensor: usize,
    /// The embedding where a model has no other.
    pub output: BoundMatrix,
    pub rope_factors: Option<Vec<f32>>,
}

impl BoundModel {
    /// Finds the tensors of a model.
    pub fn new(model: &PixelModel) -> Result<Self, BindError> {
        if let Some(tensor) = unused(model.tensors()) {
            return Err(BindError::Unused(tensor.name.clone()));
        }
        let (tensors, config) = (TensorFinder(model), model.config());
        let embedding = tensors.matrix(EMBEDDING)?;
        Ok(Self {
            embedding,
            layers: (0..config.layer_count)
                .map(|index| tensors.layer(index))
                .collect::<Result<_, _>>()?,
            output_norm: tensors.vector(OUTPUT_NORM)?,
            output_norm_tensor: tensors.index(OUTPUT_NORM)?,
            output: if config.tied_embeddings { embedding } else { tensors.matrix(OUTPUT)? },
            rope_factors: tensors.optional(ROPE_FACTORS)?,
        })
    }

    /// The parameters of `embed`, for up to so many columns.
    pub(crate) fn embed_params(&self, columns: u32) -> EmbedParams {
        EmbedParams { matrix: self.embedding.params, columns, padding: [0; 3] }
    }

    /// The parameters of `logits`, for up to so many columns and for the row groups from
    /// `first_group` on.
    pub(crate) fn logits_params(
        &self,
        config: &ModelConfig,
        columns: u32,
        first_group: u32,
    ) -> LogitsParams {
        LogitsParams {
            matrix: self.output.params,
            columns,
            norm_epsilon: config.norm_epsilon,
            first_group,
            groups: self.output.groups(),
        }
    }
}

/// How a model's positions turn query and key.
pub(crate) fn rope_params(config: &ModelConfig) -> RopeParams {
    // Without the field, the model was trained on the context that it has.
    let original_context = if config.rope_original_context == 0 {
        config.context_length
    } else {
        config.rope_original_context
    };
    RopeParams {
        size: config.rope_size,
        kind: config.rope_kind as u32,
        scaling: config.rope_scaling as u32,
        original_context,
        base: config.rope_base,
        factor: config.rope_scale_factor,
        attention_factor: config.rope_attention_factor,
        padding: 0,
    }
}

/// Finds tensors by name.
struct TensorFinder<'a>(&'a PixelModel);

impl TensorFinder<'_> {
    fn index(&self, name: &str) -> Result<usize, BindError> {
        self.0.tensor_index(name).ok_or_else(|| BindError::Tensor(name.to_owned()))
    }

    fn matrix(&self, name: &str) -> Result<BoundMatrix, BindError> {
        let index = self.index(name)?;
        let tensor = &self.0.tensors()[index];
        let params = MatrixParams::new(tensor).ok_or_else(|| BindError::Tensor(name.to_owned()))?;
        Ok(BoundMatrix {
            params,
            tensor: index,
            #[cfg(feature = "world")]
            encoding: tensor.tiling.encoding,
            #[cfg(feature = "world")]
            bytes: tensor.tiling.size_in_bytes(),
        })
    }

    fn vector(&self, name: &str) -> Result<Vec<f32>, BindError> {
        let index = self.index(name)?;
        let tiling = &self.0.tensors()[index].tiling;
        let mut numbers = vec![0.0; tiling.columns as usize];
        // Tiles are whole lines: what fills the last one is no number of the tensor.
        let bytes = &self.0.tensor_bytes(index)[..tiling.size_in_bytes() as usize];
        dequantize(tiling.encoding, bytes, &mut numbers);
        Ok(numbers)
    }

    fn optional(&self, name: &str) -> Result<Option<Vec<f32>>, BindError> {
        self.0.tensor(name).map(|_| self.vector(name)).transpose()
    }

    fn layer(&self, index: u32) -> Result<BoundLayer, BindError> {
        let matrix = |name: &str| self.matrix(&format!("blk.{index}.{name}.weight"));
        let qk_norms = self.0.config().qk_norms;
        let mut vectors = [const { Vec::new() }; LayerVector::ALL.len()];
        for vector in LayerVector::ALL {
            let name = format!("blk.{index}.{}", vector.name());
            vectors[vector as usize] = match vector {
                LayerVector::AttentionNorm | LayerVector::FeedForwardNorm => self.vector(&name)?,
                // With the flag for norms, a layer without one is an error that names it.
                LayerVector::QueryNorm | LayerVector::KeyNorm if qk_norms => self.vector(&name)?,
                LayerVector::QueryNorm | LayerVector::KeyNorm => Vec::new(),
                // A bias is there or not for each layer and matrix by itself.
                _ => self.optional(&name)?.unwrap_or_default(),
            };
        }
        Ok(BoundLayer {
            index,
            qkv: [matrix("attn_q")?, matrix("attn_k")?, matrix("attn_v")?],
            output: matrix("attn_output")?,
            gate: matrix("ffn_gate")?,
            up: matrix("ffn_up")?,
            down: matrix("ffn_down")?,
            vectors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_is_at_its_place() {
        for (place, vector) in LayerVector::ALL.into_iter().enumerate() {
            assert_eq!(vector as usize, place, "{vector:?}");
        }
    }
}
