//! A model that computes on the CPU: finds its tensors once, then makes passes.

use std::sync::Arc;

use rayon::prelude::*;

use super::Column;
use super::activations::Panels;
use super::adapters::{ActiveAdapters, CpuAdapter, LayerAdapters};
use super::attend::attend;
use super::awake::awake;
use super::cache::{KvCache, Workspace};
use super::down::down;
use super::embed::embed;
use super::error::ForwardError;
use super::fixed::ActivationBits;
use super::gate_up::gate_up;
use super::hooks::Tap;
use super::kernel_timings::{Kernel, KernelTimings};
use super::lanes::LANES;
use super::limits::ProcessorLimits;
use super::logits::{Logits, logits};
use super::project::project;
use super::qkv::{QkvOutput, QkvWeights, qkv};
use super::rope::Rotation;

use crate::forward::bind::{BoundLayer, BoundMatrix, BoundModel, LayerVector, rope_params};
use crate::forward::params::{LayerParams, MatrixParams};
use crate::forward::{HookPoint, Hooks, Interventions};
use crate::model::edits::Tiles;
use crate::model::planes::LINE_BYTES;
use crate::model::weights::tile_weights;
use crate::model::{Adapter, ModelConfig, PixelModel};

/// Columns that go through the layers together: enough that unpacking a weight costs little per
/// column, few enough that their activations stay in the cache of a core.
const BATCH: usize = 192;

/// How a model is opened for computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuOptions {
    /// Check every tile against its SHA-256 first, so that a damaged file is refused rather than
    /// computed with.
    pub verify: bool,
    /// What activations are rounded to before they are multiplied with quantised weights.
    pub activation_bits: ActivationBits,
}

impl Default for CpuOptions {
    fn default() -> Self {
        Self { verify: true, activation_bits: ActivationBits::default() }
    }
}

/// A model that computes on the CPU.
#[derive(Debug)]
pub struct CpuModel {
    model: Arc<PixelModel>,
    bound: BoundModel,
    rotation: Rotation,
    adapters: Vec<CpuAdapter>,
    activation_bits: ActivationBits,
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
        let bound = BoundModel::new(&model)?;
        // `BoundModel` has decoded vectors from bytes that nobody checked: a damaged one ends here.
        if options.verify {
            (0..model.tile_count())
                .into_par_iter()
                .try_for_each(|tile| model.tile(tile).map(|_| ()))?;
        }
        let rotation = Rotation::new(&rope_params(model.config()), bound.rope_factors.as_deref());
        let activation_bits = options.activation_bits;
        Ok(Self { model, bound, rotation, adapters: Vec::new(), activation_bits })
    }

    /// The model it computes.
    pub fn model(&self) -> &Arc<PixelModel> {
        &self.model
    }

    /// Takes up an adapter, which acts on the sequences whose set has it
    /// ([`KvCache::set_adapters`]) by the index that is returned.
    ///
    /// # Errors
    /// It is not for matrices of these shapes. On which model it was trained is not asked.
    pub fn add_adapter(&mut self, adapter: &Adapter) -> Result<u32, ForwardError> {
        adapter.check(&self.model, true)?;
        let index = self.adapters.len() as u32;
        self.adapters.push(CpuAdapter::new(adapter, self.bound.layers.len()));
        Ok(index)
    }

    /// Bytes that the adapters take, laid out for computing.
    pub fn adapter_bytes(&self) -> usize {
        self.adapters.iter().map(CpuAdapter::size_in_bytes).sum()
    }

    /// The hyperparameters as the file's head has them.
    pub fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    /// What activations are rounded to before they are multiplied with quantised weights.
    pub fn activation_bits(&self) -> ActivationBits {
        self.activation_bits
    }

    /// Runs columns through the model: writes their keys and values to the cache and returns the
    /// logits that are wanted.
    ///
    /// The columns of one sequence come in the order of their positions. A position that is already
    /// in the cache is written anew, and those after it are forgotten.
    ///
    /// # Errors
    /// A token, slot or position cannot be, or interventions or hooks do not fit the model. The
    /// cache then has no position of this pass.
    pub fn forward(
        &self,
        cache: &mut KvCache,
        columns: &[Column],
        interventions: &Interventions,
        mut hooks: Option<&mut Hooks>,
    ) -> Result<Logits, ForwardError> {
        if let Some(hooks) = &mut hooks {
            hooks.start(self.config(), columns)?;
        }
        self.check(cache, columns, interventions)?;
        Ok(awake(|| self.forward_checked(cache, columns, interventions, Tap::new(hooks, None))))
    }

    /// The same without hooks, and with a clock that counts the time of every kernel.
    ///
    /// # Errors
    /// As [`CpuModel::forward`].
    pub(crate) fn forward_timed(
        &self,
        cache: &mut KvCache,
        columns: &[Column],
        interventions: &Interventions,
        laps: &mut KernelTimings,
    ) -> Result<Logits, ForwardError> {
        self.check(cache, columns, interventions)?;
        Ok(awake(|| {
            self.forward_checked(cache, columns, interventions, Tap::new(None, Some(laps)))
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
        // Token and slot are for hooks, of which there are none; logits ask only who wants them.
        let columns: Vec<Column> = (0..)
            .take(count)
            .map(|position| Column { token: 0, slot: 0, position, wants_logits: true })
            .collect();
        let params = self.bound.logits_params(self.config(), count as u32, 0);
        let mut out = Logits::new(self.config().vocab_size as usize);
        let tensors = self.model.tensors();
        let norm = &tensors[self.bound.output_norm_tensor];
        let mut norm_weights = self.bound.output_norm.clone();
        // The norm was decoded when the model was opened: what is edited goes over it.
        for (&tile, bytes) in edited.range(norm.tiles()) {
            let shape = norm.tiling.tile(u64::from(tile - norm.first_tile));
            let columns = shape.columns.start as usize..shape.columns.end as usize;
            norm_weights[columns].copy_from_slice(&tile_weights(&norm.tiling, &shape, bytes));
        }
        let output_tensor = &tensors[self.bound.output.tensor];
        let edited_output: Vec<(usize, &[u8])> = edited
            .range(output_tensor.tiles())
            .map(|(tile, bytes)| {
                let shape = output_tensor.tiling.tile(u64::from(tile - output_tensor.first_tile));
                ((shape.lines.start * LINE_BYTES) as usize, &bytes[..])
            })
            .collect();
        let weights = (self.bytes(&self.bound.output), &edited_output[..], norm_weights.as_slice());
        let mut tap = Tap::new(None, None);
        logits(
            &params,
            weights,
            (&columns, 0, self.activation_bits),
            residual,
            [chosen, normed, output],
            &mut out,
            &mut tap,
        );
        out
    }

    /// What the processor does at most: about two seconds, and a gigabyte of memory.
    pub fn limits(&self) -> ProcessorLimits {
        ProcessorLimits::measure(self)
    }

    /// A matrix that is like most of the others.
    pub(super) fn some_matrix(&self) -> (MatrixParams, &[u8]) {
        let matrix = self.bound.layers.first().map_or(&self.bound.output, |layer| &layer.gate);
        (matrix.params, self.bytes(matrix))
    }

    /// Multiplications of a kernel's weights with so many columns, all layers together; those of
    /// attention, which has no weights, are none.
    pub fn multiplications(&self, kernel: Kernel, columns: usize) -> u64 {
        let size =
            |matrix: &BoundMatrix| u64::from(matrix.params.rows) * u64::from(matrix.params.columns);
        self.matrices(kernel).map(size).sum::<u64>() * columns as u64
    }

    /// Bytes of tiles that a kernel reads in one pass over `columns` columns, all layers together.
    /// Each column's embedding is read with the row group it lies in; a matrix is read once for all
    /// columns of a pass of up to 192.
    pub fn weight_bytes(&self, kernel: Kernel, columns: usize) -> u64 {
        if kernel == Kernel::Embed {
            let lines = self.bound.embedding.params.lines_per_row_group;
            return columns as u64 * u64::from(lines) * LINE_BYTES;
        }
        self.matrices(kernel).map(|matrix| self.bytes(matrix).len() as u64).sum()
    }

    /// The matrices that a kernel multiplies with, of all layers.
    fn matrices(&self, kernel: Kernel) -> impl Iterator<Item = &BoundMatrix> {
        let of_layer = move |layer| -> Vec<&BoundMatrix> {
            let layer: &BoundLayer = layer;
            match kernel {
                Kernel::Qkv => layer.qkv.iter().collect(),
                Kernel::Project => vec![&layer.output],
                Kernel::GateUp => vec![&layer.gate, &layer.up],
                Kernel::Down => vec![&layer.down],
                Kernel::Embed | Kernel::Attend | Kernel::Logits => Vec::new(),
            }
        };
        let output = (kernel == Kernel::Logits).then_some(&self.bound.output);
        self.bound.layers.iter().flat_map(of_layer).chain(output)
    }

    fn forward_checked(
        &self,
        cache: &mut KvCache,
        columns: &[Column],
        interventions: &Interventions,
        mut tap: Tap<'_>,
    ) -> Logits {
        let mut out = Logits::new(self.config().vocab_size as usize);
        // Taken out of the cache, which kernels write beside it; put back for the next token.
        let mut workspace = std::mem::take(&mut cache.workspace);
        for (index, batch) in columns.chunks(BATCH).enumerate() {
            self.forward_batch(cache, &mut workspace, batch, interventions, &mut tap);
            // Now, since the next batch overwrites the residual stream.
            let chosen = [&mut workspace.update, &mut workspace.normed, &mut workspace.output];
            let wanted = batch.iter().filter(|column| column.wants_logits).count() as u32;
            let params = self.bound.logits_params(self.config(), wanted, 0);
            let norm = self.bound.output_norm.as_slice();
            let weights = (self.bytes(&self.bound.output), &[][..], norm);
            logits(
                &params,
                weights,
                (batch, index * BATCH, self.activation_bits),
                &workspace.residual,
                chosen,
                &mut out,
                &mut tap,
            );
            if wanted > 0 {
                tap.lap(Kernel::Logits);
            }
            tap.end_batch(batch.len(), wanted as usize);
        }
        cache.workspace = workspace;
        out
    }

    fn forward_batch(
        &self,
        cache: &mut KvCache,
        work: &mut Workspace,
        columns: &[Column],
        interventions: &Interventions,
        tap: &mut Tap<'_>,
    ) {
        let count = columns.len() as u32;
        let embedding = self.bytes(&self.bound.embedding);
        embed(&self.bound.embed_params(count), embedding, columns, &mut work.residual);
        tap.panels(HookPoint::Embedding, columns, &mut work.residual);
        tap.lap(Kernel::Embed);
        self.rotation.angles(columns, &mut work.angles);
        let adapters = ActiveAdapters::new(&self.adapters, cache, columns);
        for (index, layer) in self.bound.layers.iter().enumerate() {
            let layer_scale = interventions.layer(index);
            let head_scale = interventions.heads_of(index, self.config().head_count);
            let params = layer.params(self.config(), count, layer_scale);
            let adapters = adapters.layer(params.qkv.layer);
            self.attention(layer, &params, cache, work, columns, head_scale, adapters, tap);
            self.feed_forward(layer, &params, work, columns, adapters, tap);
        }
    }

    fn attention(
        &self,
        layer: &BoundLayer,
        params: &LayerParams,
        cache: &mut KvCache,
        work: &mut Workspace,
        columns: &[Column],
        head_scale: &[f32],
        adapters: LayerAdapters<'_>,
        tap: &mut Tap<'_>,
    ) {
        use LayerVector::*;
        let (config, index) = (self.config(), params.qkv.layer);
        let weights = QkvWeights {
            matrices: layer.qkv.each_ref().map(|matrix| self.bytes(matrix)),
            norm: layer.vector(AttentionNorm),
            biases: [QueryBias, KeyBias, ValueBias].map(|vector| layer.vector(vector)),
            head_norms: [QueryNorm, KeyNorm].map(|vector| layer.vector(vector)),
            activation_bits: self.activation_bits,
        };
        let output = QkvOutput {
            normed: &mut work.normed,
            projected: &mut work.projected,
            rows: [&mut work.query, &mut work.key, &mut work.value],
        };
        let angles = &work.angles;
        qkv(&params.qkv, &weights, columns, angles, &work.residual, output, adapters, tap);
        let kv_size = config.kv_size() as usize;
        let rows = work.key.chunks_exact(kv_size).zip(work.value.chunks_exact(kv_size));
        // All of them before `attend`: a column reads its own and those before it in the batch.
        for (column, (key, value)) in columns.iter().zip(rows) {
            let (slot, position) = (column.slot as usize, column.position as usize);
            cache.write(index as usize, slot, position, key, value);
        }
        tap.lap(Kernel::Qkv);

        // The padding stays zero: only heads are ever written, and the stride is the same in every
        // pass.
        let stride = (config.query_size() as usize).next_multiple_of(LANES);
        work.attended.resize(stride * columns.len(), 0.0);
        attend(&params.attend, columns, &work.query, cache, stride, &mut work.attended);
        tap.lap(Kernel::Attend);

        let attended = (work.attended.as_mut_slice(), stride);
        let outputs = (&mut work.update, &mut work.residual);
        let weights = (self.bytes(&layer.output), layer.vector(OutputBias));
        let here = (index, columns, self.activation_bits);
        project(&params.project, weights, here, attended, head_scale, outputs, adapters, tap);
        tap.lap(Kernel::Project);
    }

    fn feed_forward(
        &self,
        layer: &BoundLayer,
        params: &LayerParams,
        work: &mut Workspace,
        columns: &[Column],
        adapters: LayerAdapters<'_>,
        tap: &mut Tap<'_>,
    ) {
        use LayerVector::*;
        let index = params.qkv.layer;
        let weights = (
            [self.bytes(&layer.gate), self.bytes(&layer.up)],
            layer.vector(FeedForwardNorm),
            [GateBias, UpBias].map(|vector| layer.vector(vector)),
        );
        let panels: [&mut Panels; 3] = [&mut work.normed, &mut work.gate, &mut work.up];
        let here = (index, columns, self.activation_bits);
        gate_up(&params.gate_up, weights, here, &work.residual, panels, adapters, tap);
        tap.lap(Kernel::GateUp);

        let outputs = (&mut work.update, &mut work.residual);
        let weights = (self.bytes(&layer.down), layer.vector(DownBias));
        down(&params.down, weights, here, &work.gate, outputs, adapters, tap);
        tap.lap(Kernel::Down);
    }

    /// The tiles of a matrix as they lie in the mapped file.
    fn bytes(&self, matrix: &BoundMatrix) -> &[u8] {
        self.model.tensor_bytes(matrix.tensor)
    }

    fn check(
        &self,
        cache: &mut KvCache,
        columns: &[Column],
        interventions: &Interventions,
    ) -> Result<(), ForwardError> {
        let config = self.config();
        let model =
            [config.layer_count, config.kv_head_count, config.head_size].map(|size| size as usize);
        if cache.shape() != model {
            return Err(ForwardError::Cache { cache: cache.shape(), model });
        }
        let (layers, heads) = (config.layer_count as usize, config.head_count as usize);
        let factors = [
            ("head", &interventions.heads, layers * heads),
            ("layer", &interventions.layers, layers),
        ];
        for (name, found, expected) in factors {
            if !found.is_empty() && found.len() != expected {
                return Err(ForwardError::Interventions { name, found: found.len(), expected });
            }
        }
        let vocab_size = config.vocab_size;
        for (column, &Column { token, .. }) in columns.iter().enumerate() {
            if token >= vocab_size {
                return Err(ForwardError::Token { column, token, vocab_size });
            }
        }
        for &Column { slot, .. } in columns {
            let last = cache.adapters(slot as usize).factors().last();
            if let Some(&(adapter, _)) = last.filter(|last| last.0 as usize >= self.adapters.len())
            {
                let adapters = self.adapters.len();
                return Err(ForwardError::UnknownAdapter { slot, adapter, adapters });
            }
        }
        // Last of the checks, for all columns: the cache changes only for a pass that is made.
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
