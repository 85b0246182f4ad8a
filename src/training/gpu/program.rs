//! The dispatches of a training step, written down once: which kernel, with which parameters, for
//! how many columns. A step plays them for the columns that it has.

use bevy::shader::ShaderDefVal;
use bytemuck::Pod;

use super::kernels::{
    BackShape, COLUMNS, KernelVariants, Name, VariantId, back_defs, head_defs, product_defs,
};
use super::params::{
    AdamwParams, BackParams, EmbedParams, GradientNormParams, LossParams, NONE, NormBackParams,
    NormParams, ProductParams, SLOT,
};
use super::places::{CHUNK, TrainingPlaces, logits_quads};
use super::vectors::PackedVectors;
use crate::forward::bind::{BoundMatrix, BoundModel};
use crate::forward::gpu::adapter_places::{AdaptedLayer, AdapterPlaces, COPIES};
use crate::forward::gpu::kernels::encoding_def;
use crate::model::ModelConfig;

/// Row groups that one dispatch of `back` goes through: lavapipe ends all loops of an invocation
/// after 65,535 turns, and a group may take 81.
const MOST_GROUPS: u32 = 512;
/// Quads that a workgroup of `gradient_norm` and `adamw` takes.
const PIECE: u32 = 1024;
/// Workgroups of them side by side.
const ACROSS: u32 = 256;

/// Rows of workgroups of a dispatch.
#[derive(Debug, Clone, Copy)]
pub enum DispatchRows {
    /// So many.
    Fixed(u32),
    /// One for so many columns.
    Columns(u32),
    /// One for so many of the wanted columns from `first` on, of which there are at most `most`.
    Wanted {
        /// The first.
        first: u32,
        /// The most.
        most: u32,
        /// Columns of a workgroup.
        together: u32,
    },
}

impl DispatchRows {
    /// How many there are for so many columns, of which some are wanted.
    pub fn count(self, columns: u32, wanted: u32) -> u32 {
        match self {
            Self::Fixed(rows) => rows,
            Self::Columns(together) => columns.div_ceil(together),
            Self::Wanted { first, most, together } => {
                wanted.saturating_sub(first).min(most).div_ceil(together)
            }
        }
    }
}

/// One dispatch.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    /// The kernel.
    pub kernel: VariantId,
    /// Bytes before its parameters.
    pub offset: u32,
    /// Workgroups side by side.
    pub across: u32,
    /// Rows of them.
    pub rows: DispatchRows,
}

/// The head for some of the wanted columns.
#[derive(Debug)]
pub struct HeadChunk {
    /// Norm, logits and loss.
    pub loss: Vec<Op>,
    /// Gradients of the norm.
    pub back: Vec<Op>,
}

/// All dispatches.
#[derive(Debug)]
pub struct Program {
    /// Parameters of all of them, a slot each.
    pub params: Vec<u8>,
    /// Tokens to the residual stream.
    pub embed: Vec<Op>,
    /// Each layer forward.
    pub forward: Vec<Vec<Op>>,
    /// Each layer again, without what its way back does not read.
    pub again: Vec<Vec<Op>>,
    /// Each layer back.
    pub back: Vec<Vec<Op>>,
    /// The head, chunk by chunk.
    pub chunks: Vec<HeadChunk>,
    /// The gradient of the residual stream behind the last layer.
    pub begin_back: Vec<Op>,
    /// Sums of squares of the gradient.
    pub gradient_norm: Op,
    /// Results of it, behind those of the losses.
    pub norm_results: (u32, u32),
    /// Results behind those: squares of the gradient of the residual stream, for each column at the
    /// entrance of each layer and then behind the last.
    pub stream_results: (u32, u32),
    /// AdamW, whose parameters are written anew in each step.
    pub adamw: Op,
    /// The lowest layer that is adapted: the way back ends there.
    pub lowest: usize,
    /// From this layer on what a layer leaves is still there on the way back.
    pub first_kept: usize,
}

/// Dispatches that are submitted together: between two such pieces a step can be left and gone on
/// with.
pub type ProgramPiece<'a> = (&'static str, &'a [Op]);

impl Program {
    /// The pieces of a pass: forward with its losses, and, where it learns, back.
    pub fn pieces(&self, learns: bool) -> Vec<ProgramPiece<'_>> {
        let mut pieces: Vec<ProgramPiece<'_>> = vec![("training:embed", &self.embed)];
        pieces.extend(self.forward.iter().map(|layer| ("training:forward", &layer[..])));
        for chunk in &self.chunks {
            pieces.push(("training:loss", &chunk.loss));
            if learns {
                pieces.push(("training:head_back", &chunk.back));
            }
        }
        if !learns {
            return pieces;
        }
        pieces.push(("training:begin_back", &self.begin_back));
        for layer in (self.lowest..self.back.len()).rev() {
            if layer < self.first_kept {
                pieces.push(("training:again", &self.again[layer]));
            }
            pieces.push(("training:back", &self.back[layer]));
        }
        pieces
    }

    /// The parameters of a dispatch, as they were when the program was written down.
    pub fn params_of(&self, op: &Op) -> &[u8] {
        &self.params[op.offset as usize..][..SLOT]
    }
}

/// What the dispatches are made from.
pub(super) struct Builder<'a> {
    pub config: &'a ModelConfig,
    pub bound: &'a BoundModel,
    pub vectors: &'a PackedVectors,
    pub adapter: &'a AdapterPlaces,
    pub places: &'a TrainingPlaces,
    pub columns: u32,
    pub shape: BackShape,
    pub kernels: &'a mut KernelVariants,
    pub params: Vec<u8>,
}

/// What `product` and `back` are told beside their matrix.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProductPlaces {
    pub input: u32,
    pub output: u32,
    pub stride: u32,
    pub bias: Option<u32>,
    pub added: Option<u32>,
    pub wanted: Option<u32>,
}

impl Builder<'_> {
    pub(super) fn op<P: Pod>(
        &mut self,
        name: Name,
        defs: Vec<ShaderDefVal>,
        params: &P,
        across: u32,
        rows: DispatchRows,
    ) -> Op {
        let offset = self.params.len();
        self.params.extend_from_slice(bytemuck::bytes_of(params));
        self.params.resize(offset + SLOT, 0);
        let kernel = self.kernels.request(name, defs);
        Op { kernel, offset: offset as u32, across, rows }
    }

    pub(super) fn norm(&mut self, input: u32, output: u32, gain: u32, first: Option<u32>) -> Op {
        let params = NormParams {
            input,
            output,
            gain,
            quads: self.config.embedding_size / 4,
            epsilon: self.config.norm_epsilon,
            first: first.unwrap_or(NONE),
            padding: [0; 2],
        };
        self.op(Name::Norm, Vec::new(), &params, 1, rows(first, 1))
    }

    /// `stream` is the layer at whose entrance this is all of the gradient.
    pub(super) fn norm_back(
        &mut self,
        input: u32,
        gradient: u32,
        gain: u32,
        (begins, stream): (bool, Option<usize>),
    ) -> Op {
        let (first, _) = self.stream_results();
        let params = NormBackParams {
            input,
            gradient,
            gain,
            quads: self.config.embedding_size / 4,
            epsilon: self.config.norm_epsilon,
            output: self.places.gradients.residual,
            begins: u32::from(begins),
            result: stream.map_or(NONE, |layer| first + layer as u32 * self.columns),
        };
        self.op(Name::NormBack, Vec::new(), &params, 1, DispatchRows::Columns(1))
    }

    /// `low` is where the adapter's first factor left its product, quads of a column there, quads
    /// of the matrix's own rank, and its second factor.
    pub(super) fn product(
        &mut self,
        matrix: &BoundMatrix,
        product: ProductPlaces,
        low: Option<[u32; 4]>,
    ) -> Op {
        let [low, low_stride, low_quads, factor] = low.unwrap_or_default();
        let groups = matrix.groups();
        let rows_written = if product.wanted.is_some() { groups * 64 } else { matrix.params.rows };
        let params = ProductParams {
            matrix: matrix.params,
            input: product.input,
            output: product.output,
            stride: product.stride,
            rows: rows_written,
            bias: product.bias.unwrap_or(NONE),
            added: product.added.unwrap_or(NONE),
            low,
            low_stride,
            low_quads,
            factor,
            first: product.wanted.unwrap_or(NONE),
            most: CHUNK,
        };
        let defs = product_defs(matrix.encoding);
        self.op(Name::Product, defs, &params, groups, rows(product.wanted, COLUMNS))
    }

    /// Gradients of a product's inputs; `low` is where the second factors left theirs, quads of a
    /// column, and the first factor.
    pub(super) fn back(
        &mut self,
        matrix: &BoundMatrix,
        product: ProductPlaces,
        low: Option<[u32; 3]>,
    ) -> Vec<Op> {
        let [low, low_quads, factor] = low.unwrap_or_default();
        let shape = self.shape;
        let across = (matrix.params.columns / shape.part).div_ceil(8);
        let groups = matrix.groups();
        let slices = groups.div_ceil(MOST_GROUPS);
        let slice = |(index, first_group): (u32, u32)| {
            let is_last = index + 1 == slices;
            let params = BackParams {
                matrix: matrix.params,
                input: product.input,
                stride: product.stride,
                output: product.output,
                added: u32::from(product.added.is_some() || index > 0),
                first_group,
                last_group: (first_group + MOST_GROUPS).min(groups),
                low,
                low_quads: if is_last { low_quads } else { 0 },
                factor,
                first: product.wanted.unwrap_or(NONE),
                most: CHUNK,
                padding: 0,
            };
            let defs = back_defs(matrix.encoding, shape);
            self.op(Name::Back, defs, &params, across, rows(product.wanted, shape.columns))
        };
        (0..slices).zip((0..).step_by(MOST_GROUPS as usize)).map(slice).collect()
    }

    fn embed(&mut self) -> Op {
        let matrix = &self.bound.embedding;
        let params =
            EmbedParams { matrix: matrix.params, output: self.places.residual[0], padding: [0; 3] };
        let defs = vec![encoding_def(matrix.encoding)];
        self.op(Name::Embed, defs, &params, 1, DispatchRows::Columns(1))
    }

    fn chunk(&mut self, first: u32) -> HeadChunk {
        let (width, stride) = (self.config.embedding_size / 4, logits_quads(self.config));
        let TrainingPlaces { last_norm, logits, last_norm_gradient, .. } = *self.places;
        let last = self.places.residual[self.places.residual.len() - 1];
        let norm = self.norm(last, last_norm, self.vectors.output_norm, Some(first));
        let product = ProductPlaces {
            input: last_norm,
            output: logits,
            stride,
            bias: None,
            added: None,
            wanted: Some(first),
        };
        let bound = self.bound;
        let head = self.product(&bound.output, product, None);
        let vocabulary = self.config.vocab_size;
        let params = LossParams { logits, stride, vocabulary, first };
        let loss = self.op(Name::Loss, Vec::new(), &params, 1, rows(Some(first), 1));
        let gradient =
            ProductPlaces { input: logits, output: last_norm_gradient + first * width, ..product };
        let back = self.back(&bound.output, gradient, None);
        HeadChunk { loss: vec![norm, head, loss], back }
    }

    fn norm_results(&self) -> (u32, u32) {
        (self.columns, self.adapter.quads.div_ceil(PIECE * ACROSS) * ACROSS)
    }

    fn stream_results(&self) -> (u32, u32) {
        let (first, count) = self.norm_results();
        (first + count, self.places.residual.len() as u32 * self.columns)
    }

    fn update(&mut self) -> (Op, Op) {
        let quads = self.adapter.quads;
        let (result, count) = self.norm_results();
        let down = DispatchRows::Fixed(count / ACROSS);
        let params = GradientNormParams { gradient: quads, quads, result, padding: 0 };
        let norm = self.op(Name::GradientNorm, Vec::new(), &params, ACROSS, down);
        let params = <AdamwParams as bytemuck::Zeroable>::zeroed();
        let adamw = self.op(Name::Adamw, Vec::new(), &params, ACROSS, down);
        (norm, adamw)
    }

    pub(super) fn build(mut self) -> Program {
        let layers = 0..self.bound.layers.len();
        let end = layers.end;
        let is_adapted = |layer: &AdaptedLayer| layer.is_adapted();
        let lowest = self.adapter.layers.iter().position(is_adapted).unwrap_or(layers.end);
        let embed = vec![self.embed()];
        let forward = layers.clone().map(|layer| self.layer(layer, true)).collect();
        let again = layers.clone().map(|layer| self.layer(layer, false)).collect();
        let back = layers.map(|layer| self.layer_back(layer, layer > lowest)).collect();
        let chunks = (0..self.columns).step_by(CHUNK as usize);
        let chunks = chunks.map(|first| self.chunk(first)).collect();
        let last = self.places.residual[self.places.residual.len() - 1];
        let (gradient, gain) = (self.places.last_norm_gradient, self.vectors.output_norm);
        let begin_back = vec![self.norm_back(last, gradient, gain, (true, Some(end)))];
        let (gradient_norm, adamw) = self.update();
        let (norm_results, stream_results) = (self.norm_results(), self.stream_results());
        Program {
            params: self.params,
            embed,
            forward,
            again,
            back,
            chunks,
            begin_back,
            gradient_norm,
            norm_results,
            stream_results,
            adamw,
            lowest,
            first_kept: self.places.first_kept(),
        }
    }

    pub(super) fn attention(&self) -> Vec<ShaderDefVal> {
        let share = self.config.heads_per_kv();
        head_defs(self.config.head_size, super::layer::heads_together(share))
    }
}

/// Rows of workgroups for all columns, or for a chunk of the wanted ones.
fn rows(wanted: Option<u32>, together: u32) -> DispatchRows {
    wanted.map_or(DispatchRows::Columns(together), |first| DispatchRows::Wanted {
        first,
        most: CHUNK,
        together,
    })
}

/// The parameters of AdamW for a step.
pub fn adamw_params(
    quads: u32,
    optimizer: &crate::training::optimizer::AdamW,
    rate: f32,
    step: u64,
    clip: f32,
) -> AdamwParams {
    let power = i32::try_from(step).unwrap_or(i32::MAX);
    let unbiased = |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(power))) as f32;
    let [values, gradient, moment, square] = [0, 1, 2, 3].map(|copy| copy * quads);
    const _: () = assert!(COPIES == 4);
    AdamwParams {
        values,
        gradient,
        moment,
        square,
        quads,
        rate,
        beta1: optimizer.beta1,
        beta2: optimizer.beta2,
        epsilon: optimizer.epsilon,
        // Both factors of an adapter are matrices, which decay.
        keep: 1.0 - rate * optimizer.weight_decay,
        first_factor: unbiased(optimizer.beta1),
        second_factor: unbiased(optimizer.beta2),
        clip,
        padding: [0; 3],
    }
}
