//! The parameters of every kernel, one struct per kernel: the CPU twin takes it by reference, the
//! shader as a uniform.
//!
//! All fields are four bytes wide and every struct is a multiple of 16 bytes, so that the memory
//! layout is the same in Rust and in WGSL. Words used here: a *column* is one token at one position
//! of one sequence; a *row* is one output of a matrix.

use bytemuck::{Pod, Zeroable};

use crate::model::config::{RopeKind, RopeScaling};
use crate::model::tensors::Tensor;
use crate::model::tiling::Layout;

/// Where a matrix lies and how it is cut (specs/pxi_llm.md section 6).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct MatrixParams {
    /// Outputs: its rows of weights.
    pub rows: u32,
    /// Inputs: the weights of a row.
    pub columns: u32,
    /// GGML type number of the encoding.
    pub encoding: u32,
    /// Index of the first tile in the model.
    pub first_tile: u32,
    /// The first line, counted from the start of the model's tiles.
    pub first_line: u32,
    /// Lines of one row group (64 rows) over all its tiles.
    pub lines_per_row_group: u32,
    /// Row groups in a full tile.
    pub row_groups_per_tile: u32,
    /// Columns in a full tile.
    pub columns_per_tile: u32,
}

impl MatrixParams {
    /// The parameters of a tensor, or `None` where it is a vector.
    pub fn new(tensor: &Tensor) -> Option<Self> {
        let tiling = &tensor.tiling;
        // The table's limits keep all of these within 32 bits: columns under 2^20, rows under 2^31,
        // lines under 2^32.
        (tiling.layout == Layout::Matrix).then(|| Self {
            rows: tiling.rows as u32,
            columns: tiling.columns as u32,
            encoding: tiling.encoding.ggml(),
            first_tile: tensor.first_tile,
            first_line: tensor.first_line as u32,
            lines_per_row_group: tiling.lines_per_row_group() as u32,
            row_groups_per_tile: tiling.row_groups_per_tile as u32,
            columns_per_tile: tiling.columns_per_tile as u32,
        })
    }
}

/// How RoPE turns the dimensions of a head.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct RopeParams {
    /// Dimensions of a head that are turned.
    pub size: u32,
    /// [`RopeKind`]: 0 neighbouring pairs, 1 halves.
    pub kind: u32,
    /// [`RopeScaling`]: 0 none, 1 linear, 2 yarn, 3 llama3.
    pub scaling: u32,
    /// Tokens of context before the stretch.
    pub original_context: u32,
    /// Base of the frequencies.
    pub base: f32,
    /// The factor of the stretch.
    pub factor: f32,
    /// What cosine and sine are multiplied with, beside what YaRN does.
    pub attention_factor: f32,
    /// Zero: fills the struct to a multiple of 16 bytes.
    pub padding: u32,
}

impl RopeParams {
    /// Whether dimensions `2i` and `2i + 1` turn together; otherwise `i` and `i + size / 2` do.
    pub(crate) fn turns_pairs(&self) -> bool {
        self.kind == RopeKind::Pairs as u32
    }

    /// Whether angles are stretched in this way.
    pub(crate) fn is_scaled(&self, scaling: RopeScaling) -> bool {
        self.scaling == scaling as u32
    }
}

/// `embed`: token ids to rows of the residual stream.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct EmbedParams {
    /// The token embedding: a row per token.
    pub matrix: MatrixParams,
    /// Columns of this pass.
    pub columns: u32,
    /// Zero: fills the struct to a multiple of 16 bytes.
    pub padding: [u32; 3],
}

/// `qkv`: RMS norm, query, key and value with biases, per-head norms and RoPE.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct QkvParams {
    /// Where the query matrix lies.
    pub query: MatrixParams,
    /// Where the key matrix lies.
    pub key: MatrixParams,
    /// Where the value matrix lies.
    pub value: MatrixParams,
    /// How positions turn query and key.
    pub rope: RopeParams,
    /// Columns of this pass.
    pub columns: u32,
    /// The layer's number, from 0.
    pub layer: u32,
    /// Dimensions of a head.
    pub head_size: u32,
    /// Epsilon of the norms.
    pub norm_epsilon: f32,
    /// 1 where query, key and value have biases.
    pub has_biases: u32,
    /// 1 where query and key are normalised per head.
    pub has_head_norms: u32,
    /// Zero: fills the struct to a multiple of 16 bytes.
    pub padding: [u32; 2],
}

/// `attend`: every query head over the keys and values of its sequence.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct AttendParams {
    /// Columns of this pass.
    pub columns: u32,
    /// The layer's number, from 0.
    pub layer: u32,
    /// Query heads of a layer.
    pub head_count: u32,
    /// Query heads that share one key and value head.
    pub heads_per_kv: u32,
    /// Dimensions of a head.
    pub head_size: u32,
    /// What scores are multiplied with: one over the square root of the head size.
    pub score_scale: f32,
    /// Zero: fills the struct to a multiple of 16 bytes.
    pub padding: [u32; 2],
}

/// `project`: the attention output matrix, added to the residual stream.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct ProjectParams {
    /// Where the attention output matrix lies.
    pub matrix: MatrixParams,
    /// Columns of this pass.
    pub columns: u32,
    /// Query heads of a layer.
    pub head_count: u32,
    /// Dimensions of a head.
    pub head_size: u32,
    /// Factor on what the layer adds to the residual stream.
    pub layer_scale: f32,
}

/// `gate_up`: RMS norm, gate and up matrices, `silu(gate) * up`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct GateUpParams {
    /// Where the gate matrix lies.
    pub gate: MatrixParams,
    /// Where the up matrix lies.
    pub up: MatrixParams,
    /// Columns of this pass.
    pub columns: u32,
    /// Epsilon of the norm.
    pub norm_epsilon: f32,
    /// Zero: fills the struct to a multiple of 16 bytes.
    pub padding: [u32; 2],
}

/// `down`: the matrix back to the residual stream, added to it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct DownParams {
    /// Where the down matrix lies.
    pub matrix: MatrixParams,
    /// Columns of this pass.
    pub columns: u32,
    /// Factor on what the layer adds to the residual stream.
    pub layer_scale: f32,
    /// Zero: fills the struct to a multiple of 16 bytes.
    pub padding: [u32; 2],
}

/// Where the activations begin in their buffer, in quads of four numbers.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Places {
    /// The residual stream, `[columns, width]`.
    pub residual: u32,
    /// The residual stream times the weight of the next norm, `[columns, width]`.
    pub scaled: u32,
    /// Query, key and value side by side as the matrices give them,
    /// `[columns, query + key + value]`.
    pub projected: u32,
    /// Query as attention reads it, `[columns, query]`.
    pub query: u32,
    /// What the heads give, `[columns, query]`.
    pub attended: u32,
    /// `silu(gate) * up`, `[columns, hidden]`.
    pub hidden: u32,
    /// Sums of squares of the residual stream, one per 32 numbers: `[columns, ceil(width / 32)]`.
    pub squares: u32,
    /// Persistent workgroups, which share a layer and wait for each other.
    pub workgroups: u32,
}

/// Every kernel of a layer.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct LayerParams {
    /// Parameters of `qkv` and `rope`.
    pub qkv: QkvParams,
    /// Parameters that `attend` reads.
    pub attend: AttendParams,
    /// Parameters that `project` reads.
    pub project: ProjectParams,
    /// Parameters that `gate_up` reads.
    pub gate_up: GateUpParams,
    /// Parameters that `down` reads.
    pub down: DownParams,
}

/// `logits`: final RMS norm and the output matrix.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct LogitsParams {
    /// Output matrix: a row per token.
    pub matrix: MatrixParams,
    /// Columns that want logits.
    pub columns: u32,
    /// Epsilon of the norm.
    pub norm_epsilon: f32,
    /// The row group of 64 rows that the first workgroup computes.
    pub first_group: u32,
    /// Row groups of the whole matrix.
    pub groups: u32,
}

/// `sample`: the next token of each row of logits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct SampleParams {
    /// Workgroups of `logits` per row of logits, each of 64 tokens.
    pub groups: u32,
    /// Words per row of what was sampled: a count, then tokens.
    pub stride: u32,
    /// The most rows of logits.
    pub rows: u32,
    /// Tokens that the model knows.
    pub vocabulary: u32,
}

/// `change`: a caller's change to values on their way, `values * scale + added`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct ChangeParams {
    /// Values per column, all of which are changed.
    pub features: u32,
    /// Columns that are changed.
    pub columns: u32,
    /// The factor on what is there; at 0 it is replaced, even where it is no number.
    pub scale: f32,
    /// 1 where the values are the residual stream, which the next norm reads in another form too.
    pub is_residual: u32,
    /// Where the residual stream begins among the activations, in numbers.
    pub residual: u32,
    /// Where the residual stream times the weight of the next norm begins.
    pub scaled: u32,
    /// Where the sums of squares begin.
    pub squares: u32,
    /// Where the weight of the next norm begins in its buffer.
    pub gain: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_multiples_of_a_uniforms_alignment() {
        for size in [
            size_of::<MatrixParams>(),
            size_of::<RopeParams>(),
            size_of::<EmbedParams>(),
            size_of::<Places>(),
            size_of::<LayerParams>(),
            size_of::<QkvParams>(),
            size_of::<AttendParams>(),
            size_of::<ProjectParams>(),
            size_of::<GateUpParams>(),
            size_of::<DownParams>(),
            size_of::<LogitsParams>(),
            size_of::<SampleParams>(),
            size_of::<ChangeParams>(),
        ] {
            assert_eq!(size % 16, 0, "{size}");
        }
    }
}
