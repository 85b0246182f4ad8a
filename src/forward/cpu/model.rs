//! A model that computes on the CPU: finds its tensors once, then makes passes.

use std::sync::Arc;

use rayon::prelude::*;

use super::Column;
use super::activations::Panels;
use super::attend::attend;
use super::cache::{KvCache, Workspace};
use super::down::down;
use super::embed::embed;
use super::error::ForwardError;
use super::gate_up::gate_up;
use super::hooks::{Hooks, Tap};
use super::kernel_timings::{Kernel, KernelTimings};
use super::lanes::LANES;
use super::logits::{Logits, logits};
use super::project::project;
use super::qkv::{QkvOutput, QkvWeights, qkv};
use super::rope::Rotation;

use crate::forward::HookPoint;
use crate::forward::params::{
    AttendParams, DownParams, EmbedParams, GateUpParams, LogitsParams, MatrixParams, ProjectParams,
    QkvParams, RopeParams,
};
use crate::model::edits::Tiles;
use crate::model::planes::LINE_BYTES;
use crate::model::quant::dequantize;
use crate::model::tensors::unused;
use crate::model::weights::tile_weights;
use crate::model::{ModelConfig, PixelModel};

/// Columns that go through the layers together: enough that unpacking a weight costs little per
/// column, few enough that their activations stay in the cache of a core.
const BATCH: usize = 192;
/// The token embeddings, which are the output matrix too where a model has no other.
const EMBEDDING: &str = "token_embd.weight";
/// The output matrix.
const OUTPUT: &str = "output.weight";
/// The norm before it.
const OUTPUT_NORM: &str = "output_norm.weight";

/// How a model is opened for computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuOptions {
    /// Check every tile against its SHA-256 first, so that a damaged file is refused rather than
    /// computed with.
    pub verify: bool,
}

impl Default for CpuOptions {
    fn default() -> Self {
        Self { verify: true }
    }
}

/// Factors by which a caller mutes or strengthens parts of the model; empty lists change nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Controls {
    /// A factor per query head, layer by layer: `head_scale[layer * heads + head]`.
    pub head_scale: Vec<f32>,
    /// A factor per layer on everything it adds to the residual stream; at 0 the layer is skipped.
    pub layer_scale: Vec<f32>,
}

impl Controls {
    /// Sets the factor of a query head that the model has; the others keep theirs.
    pub fn set_head_scale(&mut self, config: &ModelConfig, layer: u32, head: u32, factor: f32) {
        self.head_scale.resize((config.layer_count * config.head_count) as usize, 1.0);
        self.head_scale[(layer * config.head_count + head) as usize] = factor;
    }
}

/// A matrix by its parameters and its tensor's index.
#[derive(Debug, Clone, Copy)]
struct MatrixRef {
    params: MatrixParams,
    tensor: usize,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Vec<f32>,
    qkv: [MatrixRef; 3],
    biases: [Vec<f32>; 3],
    head_norms: [Vec<f32>; 2],
    output: MatrixRef,
    output_bias: Vec<f32>,
    feed_forward_norm: Vec<f32>,
    gate_up: [MatrixRef; 2],
    gate_up_biases: [Vec<f32>; 2],
    down: MatrixRef,
    down_bias: Vec<f32>,
}

/// A model that computes on the CPU.
#[derive(Debug)]
pub struct CpuModel {
    model: Arc<PixelModel>,
    rope: RopeParams,
    rotation: Rotation,
    embedding: MatrixRef,
    layers: Vec<Layer>,
    output_norm: Vec<f32>,
    output_norm_tensor: usize,
    output: MatrixRef,
}

impl CpuModel {
    /// Finds the tensors of a model.
    ///
    /// # Errors
    /// A tile is damaged, or a tensor is not what the family needs or would be passed over.
    pub fn new(
        model: impl Into<Arc<PixelModel>>,
        options: CpuOptions,
    ) -> Result<Self, ForwardError> {
        let model: Arc<PixelModel> = model.into();
        if let Some(tensor) = unused(model.tensors()) {
            return Err(ForwardError::Unused(tensor.name.clone()));
        }
        if options.verify {
            (0..model.tile_count())
                .into_par_iter()
                .try_for_each(|tile| model.tile(tile).map(|_| ()))?;
        }
        let config = model.config();
        let find = Finder { model: &model };
        let layer = |index: u32| {
            let matrix = |name: &str| find.matrix(&format!("blk.{index}.{name}.weight"));
            let vector = |name: &str| find.vector(&format!("blk.{index}.{name}"));
            // Empty where this layer has none.
            let bias = |name: &str| match model.tensor(&format!("blk.{index}.{name}")) {
                Some(_) => vector(name),
                None => Ok(Vec::new()),
            };
            let head_norm =
                |name: &str| if config.qk_norms { vector(name) } else { Ok(Vec::new()) };
            Ok(Layer {
                attention_norm: vector("attn_norm.weight")?,
                qkv: [matrix("attn_q")?, matrix("attn_k")?, matrix("attn_v")?],
                biases: [bias("attn_q.bias")?, bias("attn_k.bias")?, bias("attn_v.bias")?],
                head_norms: [head_norm("attn_q_norm.weight")?, head_norm("attn_k_norm.weight")?],
                output: matrix("attn_output")?,
                output_bias: bias("attn_output.bias")?,
                feed_forward_norm: vector("ffn_norm.weight")?,
                gate_up: [matrix("ffn_gate")?, matrix("ffn_up")?],
                gate_up_biases: [bias("ffn_gate.bias")?, bias("ffn_up.bias")?],
                down: matrix("ffn_down")?,
                down_bias: bias("ffn_down.bias")?,
            })
        };
        let layers = (0..config.layer_count).map(layer).collect::<Result<_, ForwardError>>()?;
        let embedding = find.matrix(EMBEDDING)?;
        let output = if config.tied_embeddings { embedding } else { find.matrix(OUTPUT)? };
        let output_norm = find.vector(OUTPUT_NORM)?;
        let output_norm_tensor = find.index(OUTPUT_NORM)?;
        let rope = rope_params(config);
        let factors = model
            .tensor("rope_freqs.weight")
            .map(|_| find.vector("rope_freqs.weight"))
            .transpose()?;
        let rotation = Rotation::new(&rope, factors.as_deref());
        Ok(Self {
            rope,
            rotation,
            embedding,
            layers,
            output_norm,
            output_norm_tensor,
            output,
            model,
        })
    }

    /// The model it computes.
    pub fn model(&self) -> &Arc<PixelModel> {
        &self.model
    }

    /// The hyperparameters.
    pub fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    /// Runs columns through the model: writes their keys and values to the cache and returns the
    /// logits that are wanted.
    ///
    /// The columns of one sequence come in the order of their positions. A position that is already
    /// in the cache is written anew, and those after it are forgotten.
    ///
    /// # Errors
    /// A token, slot or position cannot be, or controls do not fit the model. The cache then has no
    /// position of this pass.
    pub fn forward(
        &self,
        cache: &mut KvCache,
        columns: &[Column],
        controls: &Controls,
        hooks: Option<&mut dyn Hooks>,
    ) -> Result<Logits, ForwardError> {
        self.check(cache, columns, controls)?;
        // Inside the pool a parallel loop is a push on the own queue; from outside, each would wake
        // another thread and wait for it.
        Ok(rayon::scope(|_| self.forward_checked(cache, columns, controls, Tap::new(hooks, None))))
    }

    /// The same without hooks, and with a clock that counts the time of every kernel.
    ///
    /// # Errors
    /// As [`CpuModel::forward`].
    pub fn forward_timed(
        &self,
        cache: &mut KvCache,
        columns: &[Column],
        controls: &Controls,
        laps: &mut KernelTimings,
    ) -> Result<Logits, ForwardError> {
        self.check(cache, columns, controls)?;
        Ok(rayon::scope(|_| {
            self.forward_checked(cache, columns, controls, Tap::new(None, Some(laps)))
        }))
    }

    /// The logits of some states of the residual stream, which lie one after the other: the last
    /// norm and the output matrix alone, with tiles that were edited in the place of the file's.
    ///
    /// # Panics
    /// The states are not whole.
    pub fn unembed(&self, states: &[f32], edited: &Tiles) -> Logits {
        let width = self.config().embedding_size as usize;
        assert!(
            states.len().is_multiple_of(width),
            "{} values are no states of {width}",
            states.len()
        );
        let count = states.len() / width;
        let mut panels: [Panels; 4] = Default::default();
        let [residual, chosen, normed, output] = &mut panels;
        residual.resize(width, count);
        for (column, state) in states.chunks_exact(width).enumerate() {
            let mut rest = state;
            for run in residual.column_mut(column) {
                let (part, after) = rest.split_at(run.len());
                run.copy_from_slice(part);
                rest = after;
            }
        }
        let columns: Vec<Column> = (0..)
            .take(count)
            .map(|position| Column { token: 0, slot: 0, position, wants_logits: true })
            .collect();
        let params = LogitsParams {
            matrix: self.output.params,
            columns: count as u32,
            norm_epsilon: self.config().norm_epsilon,
            first_group: 0,
            groups: self.output.params.rows.div_ceil(64),
        };
        let mut out = Logits::new(self.config().vocab_size as usize);
        let tensors = self.model.tensors();
        let norm = &tensors[self.output_norm_tensor];
        let mut norm_weights = self.output_norm.clone();
        for (&tile, bytes) in edited.range(norm.tiles()) {
            let shape = norm.tiling.tile(u64::from(tile - norm.first_tile));
            let columns = shape.columns.start as usize..shape.columns.end as usize;
            norm_weights[columns].copy_from_slice(&tile_weights(&norm.tiling, &shape, bytes));
        }
        let output_tensor = &tensors[self.output.tensor];
        let edited_output: Vec<(usize, &[u8])> = edited
            .range(output_tensor.tiles())
            .map(|(tile, bytes)| {
                let shape = output_tensor.tiling.tile(u64::from(tile - output_tensor.first_tile));
                ((shape.lines.start * LINE_BYTES) as usize, &bytes[..])
            })
            .collect();
        let weights = (self.bytes(&self.output), &edited_output[..], norm_weights.as_slice());
        let mut tap = Tap::new(None, None);
        logits(
            &params,
            weights,
            (&columns, 0),
            residual,
            [chosen, normed, output],
            &mut out,
            &mut tap,
        );
        out
    }

    /// Whether [`Self::unembed`] reads a tile.
    pub fn unembeds(model: &PixelModel, tile: u32) -> bool {
        let output = if model.config().tied_embeddings { EMBEDDING } else { OUTPUT };
        let tensors = [OUTPUT_NORM, output].map(|name| model.tensor(name));
        tensors.into_iter().flatten().any(|tensor| tensor.tiles().contains(&tile))
    }

    /// Bytes of tiles that a kernel reads in one pass over `columns` columns, all layers together.
    /// Each column's embedding is read with the row group it lies in; a matrix is read once for all
    /// columns of a pass of up to 192.
    pub fn weight_bytes(&self, kernel: Kernel, columns: usize) -> u64 {
        let all = |matrices: &[MatrixRef]| {
            matrices.iter().map(|matrix| self.bytes(matrix).len() as u64).sum()
        };
        let layers = |of: fn(&Layer) -> &[MatrixRef]| {
            self.layers.iter().map(|layer| -> u64 { all(of(layer)) }).sum()
        };
        match kernel {
            Kernel::Embed => {
                columns as u64 * u64::from(self.embedding.params.lines_per_row_group) * LINE_BYTES
            }
            Kernel::Qkv => layers(|layer| &layer.qkv),
            Kernel::Attend => 0,
            Kernel::Project => layers(|layer| std::slice::from_ref(&layer.output)),
            Kernel::GateUp => layers(|layer| &layer.gate_up),
            Kernel::Down => layers(|layer| std::slice::from_ref(&layer.down)),
            Kernel::Logits => all(&[self.output]),
        }
    }

    fn forward_checked(
        &self,
        cache: &mut KvCache,
        columns: &[Column],
        controls: &Controls,
        mut tap: Tap<'_>,
    ) -> Logits {
        let mut out = Logits::new(self.config().vocab_size as usize);
        let mut workspace = std::mem::take(&mut cache.workspace);
        for (index, batch) in columns.chunks(BATCH).enumerate() {
            self.forward_batch(cache, &mut workspace, batch, controls, &mut tap);
            let chosen = [&mut workspace.update, &mut workspace.normed, &mut workspace.output];
            let params = LogitsParams {
                matrix: self.output.params,
                columns: batch.iter().filter(|column| column.wants_logits).count() as u32,
                norm_epsilon: self.config().norm_epsilon,
                first_group: 0,
                groups: self.output.params.rows.div_ceil(64),
            };
            let weights = (self.bytes(&self.output), &[][..], self.output_norm.as_slice());
            logits(
                &params,
                weights,
                (batch, index * BATCH),
                &workspace.residual,
                chosen,
                &mut out,
                &mut tap,
            );
            if params.columns > 0 {
                tap.lap(Kernel::Logits);
            }
        }
        cache.workspace = workspace;
        out
    }

    fn forward_batch(
        &self,
        cache: &mut KvCache,
        work: &mut Workspace,
        columns: &[Column],
        controls: &Controls,
        tap: &mut Tap<'_>,
    ) {
        let count = columns.len() as u32;
        let embed_params =
            EmbedParams { matrix: self.embedding.params, columns: count, padding: [0; 3] };
        embed(&embed_params, self.bytes(&self.embedding), columns, &mut work.residual);
        tap.panels(HookPoint::Embedding, columns, &mut work.residual);
        tap.lap(Kernel::Embed);
        self.rotation.angles(columns, &mut work.angles);
        for index in 0..self.layers.len() {
            let layer_scale = controls.layer_scale.get(index).copied().unwrap_or(1.0);
            self.attention(index, cache, work, columns, layer_scale, &controls.head_scale, tap);
            self.feed_forward(index, work, columns, layer_scale, tap);
        }
    }

    fn attention(
        &self,
        index: usize,
        cache: &mut KvCache,
        work: &mut Workspace,
        columns: &[Column],
        layer_scale: f32,
        head_scale: &[f32],
        tap: &mut Tap<'_>,
    ) {
        let (config, layer) = (self.config(), &self.layers[index]);
        let params = QkvParams {
            query: layer.qkv[0].params,
            key: layer.qkv[1].params,
            value: layer.qkv[2].params,
            rope: self.rope,
            columns: columns.len() as u32,
            layer: index as u32,
            head_size: config.head_size,
            norm_epsilon: config.norm_epsilon,
            has_biases: u32::from(config.qkv_biases),
            has_head_norms: u32::from(config.qk_norms),
            padding: [0; 2],
        };
        let weights = QkvWeights {
            matrices: layer.qkv.each_ref().map(|matrix| self.bytes(matrix)),
            norm: &layer.attention_norm,
            biases: layer.biases.each_ref().map(Vec::as_slice),
            head_norms: layer.head_norms.each_ref().map(Vec::as_slice),
        };
        let output = QkvOutput {
            normed: &mut work.normed,
            projected: &mut work.projected,
            rows: [&mut work.query, &mut work.key, &mut work.value],
        };
        qkv(&params, &weights, columns, &work.angles, &work.residual, output, tap);
        let kv_size = config.kv_size() as usize;
        let rows = work.key.chunks_exact(kv_size).zip(work.value.chunks_exact(kv_size));
        for (column, (key, value)) in columns.iter().zip(rows) {
            cache.write(index, column.slot as usize, column.position as usize, key, value);
        }
        tap.lap(Kernel::Qkv);

        let params = AttendParams {
            columns: columns.len() as u32,
            layer: index as u32,
            head_count: config.head_count,
            heads_per_kv: config.heads_per_kv(),
            head_size: config.head_size,
            score_scale: 1.0 / (config.head_size as f32).sqrt(),
            padding: [0; 2],
        };
        // The padding stays zero: only heads are ever written, and the stride is the same in every
        // pass.
        let stride = (config.query_size() as usize).next_multiple_of(LANES);
        work.attended.resize(stride * columns.len(), 0.0);
        attend(&params, columns, &work.query, cache, stride, &mut work.attended);
        tap.lap(Kernel::Attend);

        let params = ProjectParams {
            matrix: layer.output.params,
            columns: columns.len() as u32,
            head_count: config.head_count,
            head_size: config.head_size,
            layer_scale,
        };
        let heads = config.head_count as usize;
        let head_scale = head_scale.get(index * heads..(index + 1) * heads).unwrap_or_default();
        let attended = (work.attended.as_mut_slice(), stride);
        let outputs = (&mut work.update, &mut work.residual);
        let weights = (self.bytes(&layer.output), layer.output_bias.as_slice());
        project(&params, weights, (index as u32, columns), attended, head_scale, outputs, tap);
        tap.lap(Kernel::Project);
    }

    fn feed_forward(
        &self,
        index: usize,
        work: &mut Workspace,
        columns: &[Column],
        layer_scale: f32,
        tap: &mut Tap<'_>,
    ) {
        let (config, layer) = (self.config(), &self.layers[index]);
        let [gate, up] = layer.gate_up;
        let params = GateUpParams {
            gate: gate.params,
            up: up.params,
            columns: columns.len() as u32,
            norm_epsilon: config.norm_epsilon,
            padding: [0; 2],
        };
        let biases = layer.gate_up_biases.each_ref().map(Vec::as_slice);
        let weights =
            ([self.bytes(&gate), self.bytes(&up)], layer.feed_forward_norm.as_slice(), biases);
        let panels: [&mut Panels; 3] = [&mut work.normed, &mut work.gate, &mut work.up];
        gate_up(&params, weights, (index as u32, columns), &work.residual, panels, tap);
        tap.lap(Kernel::GateUp);

        let params = DownParams {
            matrix: layer.down.params,
            columns: columns.len() as u32,
            layer_scale,
            padding: [0; 2],
        };
        let outputs = (&mut work.update, &mut work.residual);
        let weights = (self.bytes(&layer.down), layer.down_bias.as_slice());
        down(&params, weights, (index as u32, columns), &work.gate, outputs, tap);
        tap.lap(Kernel::Down);
    }

    /// The tiles of a matrix as they lie in the mapped file.
    fn bytes(&self, matrix: &MatrixRef) -> &[u8] {
        self.model.tensor_bytes(matrix.tensor)
    }

    fn check(
        &self,
        cache: &mut KvCache,
        columns: &[Column],
        controls: &Controls,
    ) -> Result<(), ForwardError> {
        let config = self.config();
        let model =
            [config.layer_count, config.kv_head_count, config.head_size].map(|size| size as usize);
        if cache.shape() != model {
            return Err(ForwardError::Cache { cache: cache.shape(), model });
        }
        let (layers, heads) = (config.layer_count as usize, config.head_count as usize);
        let factors = [
            ("head_scale", &controls.head_scale, layers * heads),
            ("layer_scale", &controls.layer_scale, layers),
        ];
        for (name, found, expected) in factors {
            if !found.is_empty() && found.len() != expected {
                return Err(ForwardError::Controls { name, found: found.len(), expected });
            }
        }
        let vocab_size = config.vocab_size;
        for (column, &Column { token, .. }) in columns.iter().enumerate() {
            if token >= vocab_size {
                return Err(ForwardError::Token { column, token, vocab_size });
            }
        }
        for (index, column) in columns.iter().enumerate() {
            if let Err(error) = cache.push(index, column.slot, column.position) {
                for column in columns[..index].iter().rev() {
                    cache.truncate(column.slot as usize, column.position as usize);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// How a model's positions turn query and key.
pub fn rope_params(config: &ModelConfig) -> RopeParams {
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
struct Finder<'a> {
    model: &'a PixelModel,
}

impl Finder<'_> {
    fn index(&self, name: &str) -> Result<usize, ForwardError> {
        self.model.tensor_index(name).ok_or_else(|| ForwardError::Tensor(name.to_owned()))
    }

    fn matrix(&self, name: &str) -> Result<MatrixRef, ForwardError> {
        let tensor = self.index(name)?;
        let params = MatrixParams::new(&self.model.tensors()[tensor])
            .ok_or_else(|| ForwardError::Tensor(name.to_owned()))?;
        Ok(MatrixRef { params, tensor })
    }

    /// A vector's numbers: a few thousand, so that each pass need not decode them.
    fn vector(&self, name: &str) -> Result<Vec<f32>, ForwardError> {
        let index = self.index(name)?;
        let tiling = &self.model.tensors()[index].tiling;
        let mut numbers = vec![0.0; tiling.columns as usize];
        dequantize(
            tiling.encoding,
            &self.model.tensor_bytes(index)[..tiling.size_in_bytes() as usize],
            &mut numbers,
        );
        Ok(numbers)
    }
}
