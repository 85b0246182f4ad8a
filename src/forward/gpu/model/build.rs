//! Puts a model on the device: pages, buffers, pipelines and bind groups, once.

use bevy::{
    prelude::*,
    render::{
        render_resource::{
            BindGroup, BindingResource, Buffer, BufferInitDescriptor, BufferUsages, PipelineCache,
        },
        renderer::{RenderAdapterInfo, RenderDevice, RenderQueue},
    },
    shader::ShaderDefVal,
};

use super::buffers::Buffers;
use super::tensors::{MatrixRef, Tensors};
use super::vectors::{norm_weights, vectors};
use super::weights::Weights;
use super::{Choice, GpuModelError, GpuModelFailure, GpuModelSource, Quads, Sizes, Step};
use crate::forward::cpu::rope::Rotation;
use crate::forward::cpu::{Column, rope_params};
use crate::forward::gpu::kernels::{
    COLUMNS_TOGETHER, KernelFamily, KernelId, KernelSource, Kernels, attend, choose, down, embed,
    encoding_def, fused_layer, gate_up, logits, product_defs, project, qkv, readings, rotate,
    variant_for,
};
use crate::forward::gpu::shaders::Shaders;
use crate::forward::params::{
    AttendParams, ChooseParams, DownParams, EmbedParams, GateUpParams, LayerParams, LogitsParams,
    MatrixParams, ProjectParams, QkvParams,
};
use crate::model::tensors::unused;
use crate::model::{ModelConfig, PixelModel};
use crate::residency::compute::Pool;
use crate::tiles::Pages;

/// One dispatch: a kernel and its workgroups per column, or per so many of [`COLUMNS_TOGETHER`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Dispatch {
    /// The kernel's name.
    pub name: &'static str,
    /// For one column at a time.
    kernel: KernelId,
    /// For each of [`COLUMNS_TOGETHER`], where the kernel is a product.
    variants: Option<[KernelId; COLUMNS_TOGETHER.len()]>,
    /// The most columns that its workgroups go through themselves, or 0 where each has one
    /// workgroup more.
    most_columns: u32,
    workgroups: u32,
    /// Bytes of the matrices that it multiplies with.
    weight_bytes: u64,
}

/// A kernel of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelUse {
    /// Its name.
    pub name: &'static str,
    /// How often it is dispatched.
    pub dispatches: u64,
    /// Bytes of all matrices that it multiplies with.
    pub weight_bytes: u64,
}

impl Dispatch {
    /// The kernel for so many columns, and its workgroups.
    pub fn plan(&self, columns: u32) -> (KernelId, [u32; 3]) {
        match self.variants {
            Some(variants) => {
                let down = if self.most_columns > 0 { 1 } else { readings(columns) };
                (variants[variant_for(columns)], [self.workgroups, down, 1])
            }
            None => (self.kernel, [self.workgroups, columns, 1]),
        }
    }
}

/// Dispatches that share what they are bound to.
#[derive(Debug)]
pub(super) struct Stage {
    pub group: BindGroup,
    pub dispatches: Vec<Dispatch>,
    /// All of them in one, for few columns.
    pub whole: Option<Dispatch>,
}

/// A model on the device.
#[derive(Resource, Debug)]
pub struct GpuModel {
    /// Its tiles.
    pub pages: Pages,
    /// Its activations and cache.
    pub buffers: Buffers,
    /// What there is room for.
    pub sizes: Sizes,
    /// The hyperparameters.
    pub config: ModelConfig,
    /// Whether a layer is one dispatch where it can be.
    pub fused_layers: bool,
    /// Each layer's [`LayerParams`].
    layer_params: Vec<Buffer>,
    /// What its kernels are compiled for.
    pub(super) family: KernelFamily,
    /// Weight of the norm after the embedding, then of each layer's two norms.
    pub(super) norm_weights: Vec<Buffer>,
    /// Of each layer: biases, then norms of heads.
    pub(super) vectors: Vec<Buffer>,
    pub(super) embed: Stage,
    pub(super) layers: Vec<Stage>,
    /// Pieces of the output matrix that are streamed before the last one.
    pub(super) output_pieces: Vec<Stage>,
    /// The output matrix, or its last piece.
    pub(super) logits: Stage,
    /// The choice as the chain has it, and the greedy one.
    pub(super) choose: [Stage; 2],
}

impl GpuModel {
    /// Whether every layer can be computed in one dispatch.
    pub fn has_fused_layers(&self) -> bool {
        self.layers.iter().all(|stage| stage.whole.is_some())
    }

    /// What chooses the next tokens as a step wants it.
    pub(super) fn choice(&self, step: &Step) -> Option<&Stage> {
        match step.choose {
            Choice::None => None,
            Choice::Chain => Some(&self.choose[0]),
            Choice::Greedy => Some(&self.choose[1]),
        }
    }

    /// The kernels of a step without its hooks, some of them more than once.
    pub(super) fn needed(&self, step: &Step, fused_layers: bool) -> impl Iterator<Item = KernelId> {
        let with = |columns| move |stage| (stage, columns);
        let layers = [&self.embed].into_iter().chain(&self.layers).map(with(step.columns));
        let output = self.output_pieces.iter().chain([&self.logits]).chain(self.choice(step));
        let stages =
            layers.chain(output.map(with(step.wanted))).filter(|(_, columns)| *columns > 0);
        stages.flat_map(move |(stage, columns)| {
            let dispatches =
                if fused_layers { self.plan(stage, columns) } else { &stage.dispatches };
            let wanted = dispatches.iter().filter(|dispatch| step.has(dispatch.name));
            wanted.map(move |dispatch| dispatch.plan(columns).0)
        })
    }

    /// The dispatches of one layer for so many columns.
    pub(super) fn plan<'a>(&self, stage: &'a Stage, columns: u32) -> &'a [Dispatch] {
        match &stage.whole {
            Some(whole) if self.fused_layers && columns <= whole.most_columns => {
                std::slice::from_ref(whole)
            }
            _ => &stage.dispatches,
        }
    }

    /// Dispatches of one layer for so many columns.
    pub fn dispatches_per_layer(&self, columns: u32) -> usize {
        self.layers.first().map_or(0, |stage| self.plan(stage, columns).len())
    }

    /// The kernels of one step of so many columns, in their order.
    pub fn kernels(&self, columns: u32) -> Vec<KernelUse> {
        let layers = self.layers.iter().flat_map(|stage| self.plan(stage, columns));
        let before = self.embed.dispatches.iter();
        let pieces = self.output_pieces.iter().flat_map(|stage| &stage.dispatches);
        let after = pieces.chain(&self.logits.dispatches).chain(&self.choose[0].dispatches);
        let mut kernels: Vec<KernelUse> = Vec::new();
        for Dispatch { name, weight_bytes, .. } in before.chain(layers).chain(after) {
            match kernels.iter_mut().find(|kernel| kernel.name == *name) {
                Some(kernel) => {
                    kernel.dispatches += 1;
                    kernel.weight_bytes += weight_bytes;
                }
                None => {
                    kernels.push(KernelUse { name, dispatches: 1, weight_bytes: *weight_bytes })
                }
            }
        }
        kernels
    }

    /// Words per row of logits in their buffer.
    pub fn logits_stride(&self) -> usize {
        (self.config.vocab_size as usize).next_multiple_of(64)
    }

    /// Sets the factor of a query head, from the next step on.
    pub fn set_head_scale(&self, queue: &RenderQueue, layer: u32, head: u32, factor: f32) {
        let at = u64::from(layer * self.config.head_count + head) * 4;
        queue.write_buffer(&self.buffers.head_scale, at, &factor.to_le_bytes());
    }

    /// Sets the factor on everything that a layer adds to the residual stream, from the next step
    /// on.
    pub fn set_layer_scale(&self, queue: &RenderQueue, layer: u32, factor: f32) {
        use std::mem::offset_of;
        let project = offset_of!(LayerParams, project) + offset_of!(ProjectParams, layer_scale);
        let down = offset_of!(LayerParams, down) + offset_of!(DownParams, layer_scale);
        for at in [project, down] {
            queue.write_buffer(
                &self.layer_params[layer as usize],
                at as u64,
                &factor.to_le_bytes(),
            );
        }
    }
}

/// Runs once per device.
pub(super) fn build_network(
    mut commands: Commands,
    wanted: Res<GpuModelSource>,
    mut failure: ResMut<GpuModelFailure>,
    mut kernels: ResMut<Kernels>,
    device: Res<RenderDevice>,
    queue: Res<RenderQueue>,
    adapter: Res<RenderAdapterInfo>,
    cache: Res<PipelineCache>,
    shaders: Res<Shaders>,
) {
    let result = if wanted.family.subgroups
        && !KernelFamily::can_use_subgroups(&adapter, device.features())
    {
        Err(GpuModelError::Subgroups {
            least: adapter.subgroup_min_size,
            most: adapter.subgroup_max_size,
        })
    } else {
        kernels.ahead = wanted.compile_ahead;
        let builder = Builder {
            family: wanted.family,
            kernels: &mut kernels,
            device: &device,
            queue: &queue,
            cache: &cache,
            shaders: &shaders,
        };
        builder.build(&wanted)
    };
    match result {
        Ok((network, pool)) => {
            // What an earlier device streamed is of no use to this one.
            commands.remove_resource::<Pool>();
            commands.insert_resource(network);
            if let Some(pool) = pool {
                commands.insert_resource(pool);
            }
        }
        Err(error) => failure.0 = Some(error),
    }
}

struct Builder<'a> {
    family: KernelFamily,
    kernels: &'a mut Kernels,
    device: &'a RenderDevice,
    queue: &'a RenderQueue,
    cache: &'a PipelineCache,
    shaders: &'a Shaders,
}

/// What can be bound.
trait Binding {
    fn resource(&self) -> BindingResource<'_>;
}

impl Binding for Buffer {
    fn resource(&self) -> BindingResource<'_> {
        self.as_entire_binding()
    }
}

impl Binding for Quads {
    fn resource(&self) -> BindingResource<'_> {
        self.binding()
    }
}

/// Workgroups of the kernels that give a lane eight rows.
fn by_eight(matrix: &MatrixParams) -> u32 {
    matrix.rows.div_ceil(64)
}

/// Workgroups of the kernels that give a lane four rows.
fn by_four(matrix: &MatrixParams) -> u32 {
    matrix.rows.div_ceil(32)
}

impl Builder<'_> {
    fn data(&self, label: &'static str, contents: &[u8], usage: BufferUsages) -> Buffer {
        let usage = usage | BufferUsages::COPY_DST;
        let empty = [0; 16];
        let contents = if contents.is_empty() { &empty } else { contents };
        self.device.create_buffer_with_data(&BufferInitDescriptor {
            label: Some(label),
            contents,
            usage,
        })
    }

    fn uniform<T: bytemuck::Pod>(&self, params: &T) -> Buffer {
        self.data("params", bytemuck::bytes_of(params), BufferUsages::UNIFORM)
    }

    fn numbers(&self, label: &'static str, numbers: &[f32]) -> Buffer {
        self.data(label, bytemuck::cast_slice(numbers), BufferUsages::STORAGE)
    }

    /// A kernel that takes its columns one by one.
    fn dispatch(
        &mut self,
        source: &'static KernelSource,
        mut defs: Vec<ShaderDefVal>,
        workgroups: u32,
    ) -> Dispatch {
        defs.extend(self.family.shader_defs());
        let kernel = self.kernels.request(source, defs, self.shaders, self.cache);
        Dispatch {
            name: source.name,
            kernel,
            variants: None,
            most_columns: 0,
            workgroups,
            weight_bytes: 0,
        }
    }

    /// A kernel that multiplies matrices, in its variants for one and for several columns.
    fn product(
        &mut self,
        source: &'static KernelSource,
        defs: impl Fn(u32) -> Vec<ShaderDefVal>,
        workgroups: u32,
        weight_bytes: u64,
    ) -> Dispatch {
        let [one, four, eight] =
            COLUMNS_TOGETHER.map(|columns| self.dispatch(source, defs(columns), workgroups));
        Dispatch { variants: Some([one.kernel, four.kernel, eight.kernel]), weight_bytes, ..one }
    }

    /// Binds what the kernels of a stage share, in the order of their layout; those that multiply
    /// begin with the pages.
    fn stage(
        &self,
        pages: Option<&Pages>,
        bound: &[&dyn Binding],
        dispatches: Vec<Dispatch>,
    ) -> Stage {
        let mut resources = Vec::new();
        if let Some(pages) = pages {
            resources.push(BindingResource::TextureView(&pages.view));
            resources.push(pages.tile_place.as_entire_binding());
        }
        resources.extend(bound.iter().map(|bound| bound.resource()));
        let group =
            self.kernels.get(dispatches[0].kernel).bind(self.device, self.cache, &resources);
        Stage { group, dispatches, whole: None }
    }

    fn build(mut self, wanted: &GpuModelSource) -> Result<(GpuModel, Option<Pool>), GpuModelError> {
        let GpuModelSource { model, sizes, crew, .. } = wanted;
        let (model, mut sizes): (&PixelModel, Sizes) = (model, *sizes);
        let config = model.config().clone();
        if !config.head_size.is_multiple_of(8) {
            return Err(GpuModelError::Shape {
                what: "the head size",
                found: config.head_size,
                multiple: 8,
            });
        }
        if !config.rope_size.is_multiple_of(8) {
            let found = config.rope_size;
            return Err(GpuModelError::Shape {
                what: "what RoPE turns of a head",
                found,
                multiple: 8,
            });
        }
        let side = self.device.limits().max_texture_dimension_2d;
        self.family.textures &= sizes.fit_textures(&config, side);
        let tensors = Tensors(model);
        let weights = Weights::open(self.device, self.queue, wanted, &mut sizes)?;
        let buffers = Buffers::new(self.device, &config, sizes, *crew, self.family.textures)?;
        let b = &buffers;
        let heads = config.layer_count as usize * config.head_count as usize;
        self.queue.write_buffer(&b.head_scale, 0, bytemuck::cast_slice(&vec![1f32; heads]));
        let angles = self.angles(&tensors, &config, sizes)?;
        let places = self.uniform(&b.places);

        let embedding = tensors.matrix("token_embd.weight")?;
        let output =
            if config.tied_embeddings { embedding } else { tensors.matrix("output.weight")? };
        let params =
            EmbedParams { matrix: embedding.params, columns: sizes.columns, padding: [0; 3] };
        let params = self.uniform(&params);
        let gain = self.numbers("gain", &tensors.vector("blk.0.attn_norm.weight")?);
        let embed = self.dispatch(&embed::SOURCE, vec![encoding_def(embedding.encoding)], 1);
        let bound: [&dyn Binding; _] =
            [&b.activations, &places, &params, &gain, &b.columns, &b.meetings];
        let embed = self.stage(Some(weights.embedding()), &bound, vec![embed]);

        let (mut layers, mut layer_params) = (Vec::new(), Vec::new());
        let (mut all_gains, mut all_vectors) = (vec![gain], Vec::new());
        for index in 0..config.layer_count {
            let (params, matrices) = layer_parameters(index, &tensors, &config, sizes)?;
            let uniform = self.uniform(&params);
            let norm_weights = self.numbers("gains", &norm_weights(index, &tensors, &config)?);
            let vectors = self.numbers("vectors", &vectors(index, &tensors, &config)?);
            let [keys, values] = &b.cache[index as usize];
            let bound: [&dyn Binding; _] = [
                &b.activations,
                &places,
                &uniform,
                &norm_weights,
                &vectors,
                &angles,
                &b.columns,
                keys,
                values,
                &b.head_scale,
                &b.meetings,
            ];
            let dispatches = self.layer_dispatches(&params, &matrices);
            let mut stage = self.stage(Some(weights.layer(index)), &bound, dispatches);
            stage.whole = self.fused_layer(&params, &matrices, *crew, sizes);
            layers.push(stage);
            layer_params.push(uniform);
            all_gains.push(norm_weights);
            all_vectors.push(vectors);
        }

        let groups = by_eight(&output.params);
        let mut output_pieces = Vec::new();
        for (first_group, count, pages) in weights.output(groups) {
            let params = LogitsParams {
                matrix: output.params,
                columns: sizes.columns,
                norm_epsilon: config.norm_epsilon,
                first_group,
                groups,
            };
            let params = self.uniform(&params);
            let logits = self.product(
                &logits::SOURCE,
                |columns| product_defs(output.encoding, columns),
                count,
                output.bytes * u64::from(count) / u64::from(groups),
            );
            let bound: [&dyn Binding; _] =
                [&b.activations, &places, &params, &b.wanted, &b.logits, &b.best];
            output_pieces.push(self.stage(Some(pages), &bound, vec![logits]));
        }
        let logits = output_pieces.pop().expect("the output matrix has rows");

        let params = ChooseParams {
            groups,
            stride: sizes.steps + 1,
            rows: sizes.columns,
            vocabulary: config.vocab_size,
        };
        let params = self.uniform(&params);
        let s = &b.sampling;
        let bound: [&dyn Binding; _] = [
            &params, &b.best, &b.logits, &s.listed, &s.recent, &s.biases, &b.wanted, &b.columns,
            &s.drawn, &s.words,
        ];
        let choose = [false, true].map(|greedy| {
            let dispatch = self.dispatch(&choose::SOURCE, choose::shader_defs(greedy), 1);
            self.stage(None, &bound, vec![dispatch])
        });
        let (fused_layers, norm_weights) = (*crew > 0, all_gains);
        let (pages, pool) = weights.into_parts();
        let network = GpuModel {
            pages,
            buffers,
            sizes,
            config,
            fused_layers,
            layer_params,
            family: self.family,
            norm_weights,
            vectors: all_vectors,
            embed,
            layers,
            output_pieces,
            logits,
            choose,
        };
        Ok((network, pool))
    }

    fn angles(
        &self,
        tensors: &Tensors<'_>,
        config: &ModelConfig,
        sizes: Sizes,
    ) -> Result<Buffer, GpuModelError> {
        let factors = tensors
            .0
            .tensor("rope_freqs.weight")
            .map(|_| tensors.vector("rope_freqs.weight"))
            .transpose()?;
        let positions: Vec<Column> = (0..sizes.context)
            .map(|position| Column { token: 0, slot: 0, position, wants_logits: false })
            .collect();
        let mut angles = Vec::new();
        Rotation::new(&rope_params(config), factors.as_deref()).angles(&positions, &mut angles);
        Ok(self.data("angles", bytemuck::cast_slice(&angles), BufferUsages::STORAGE))
    }

    fn layer_dispatches(
        &mut self,
        params: &LayerParams,
        matrices: &LayerMatrices,
    ) -> Vec<Dispatch> {
        let mut dispatches = Vec::new();
        // Matrices side by side in one encoding share a dispatch.
        let (mut first, qkv) = (0, &matrices.qkv);
        while first < 3 {
            let encoding = qkv[first].encoding;
            let same = qkv[first..].iter().take_while(|matrix| matrix.encoding == encoding).count();
            let groups =
                qkv[first..first + same].iter().map(|matrix| by_eight(&matrix.params)).sum();
            let bytes = qkv[first..first + same].iter().map(|matrix| matrix.bytes).sum();
            let last = first + same - 1;
            let defs = |columns| qkv::shader_defs(encoding, first as u32, last as u32, columns);
            dispatches.push(self.product(&qkv::SOURCE, defs, groups, bytes));
            first += same;
        }
        let attend = &params.attend;
        let kv_heads = attend.head_count / attend.heads_per_kv;
        dispatches.push(self.dispatch(
            &rotate::SOURCE,
            Vec::new(),
            attend.head_count + 2 * kv_heads,
        ));
        let together = attend::heads_together(attend.heads_per_kv);
        let defs = attend::shader_defs(attend.head_size, together);
        dispatches.push(self.dispatch(&attend::SOURCE, defs, attend.head_count / together));
        for (source, matrix, bytes) in [
            (&project::SOURCE, matrices.output, matrices.output.bytes),
            (&gate_up::SOURCE, matrices.gate, 2 * matrices.gate.bytes),
            (&down::SOURCE, matrices.down, matrices.down.bytes),
        ] {
            let defs = |columns| product_defs(matrix.encoding, columns);
            dispatches.push(self.product(source, defs, by_four(&matrix.params), bytes));
        }
        dispatches
    }

    /// The whole layer in one dispatch, where all its matrices share an encoding and there is
    /// little enough to do.
    fn fused_layer(
        &mut self,
        params: &LayerParams,
        matrices: &LayerMatrices,
        crew: u32,
        sizes: Sizes,
    ) -> Option<Dispatch> {
        let encoding = matrices.gate.encoding;
        let all =
            [matrices.qkv[0], matrices.qkv[1], matrices.qkv[2], matrices.output, matrices.down];
        if crew == 0
            || self.family.split
            || !self.family.subgroups
            || all.iter().any(|matrix| matrix.encoding != encoding)
        {
            return None;
        }
        let products: u64 =
            all.iter().chain([&matrices.gate]).map(|matrix| turns(&matrix.params)).sum();
        let fits = |columns: u32| {
            // One workgroup may do nearly all, where other programs keep the others from their
            // processors.
            let attention = attention_turns(&params.attend, columns, sizes.context);
            products * u64::from(readings(columns)) + attention < u64::from(fused_layer::MOST_TURNS)
        };
        // The kernel for many takes a while to compile, and a single sequence has few columns only
        // at its very beginning.
        let most = if sizes.slots > 1 { fused_layer::MOST_COLUMNS } else { 1 };
        let most_columns = (1..=most).rev().find(|&columns| fits(columns))?;
        let together = attend::heads_together(params.attend.heads_per_kv);
        let defs = |columns| {
            fused_layer::shader_defs(encoding, params.attend.head_size, together, columns)
        };
        let weight_bytes =
            all.iter().map(|matrix| matrix.bytes).sum::<u64>() + 2 * matrices.gate.bytes;
        let one = self.dispatch(&fused_layer::SOURCE, defs(1), crew);
        let variants = COLUMNS_TOGETHER.map(|columns| {
            let needed = variant_for(columns) <= variant_for(most_columns);
            if needed {
                self.dispatch(&fused_layer::SOURCE, defs(columns), crew).kernel
            } else {
                one.kernel
            }
        });
        Some(Dispatch { weight_bytes, variants: Some(variants), most_columns, ..one })
    }
}

/// Turns of a kernel's loops for all workgroups together: one per 32 rows and 32 inputs, and some
/// at a workgroup's end.
fn turns(matrix: &MatrixParams) -> u64 {
    u64::from(by_four(matrix)) * (u64::from(matrix.columns.div_ceil(32)) + 16)
}

/// Turns of the loops of attention: one per eight positions, and some for RoPE.
fn attention_turns(params: &AttendParams, columns: u32, context: u32) -> u64 {
    let kv_heads = params.head_count / params.heads_per_kv;
    let groups = params.heads_per_kv / attend::heads_together(params.heads_per_kv);
    u64::from(columns * kv_heads)
        * (u64::from(groups) * u64::from(context.div_ceil(8))
            + 8 * u64::from(params.heads_per_kv + 2))
}

/// The matrices of a layer; up is like gate.
struct LayerMatrices {
    qkv: [MatrixRef; 3],
    output: MatrixRef,
    gate: MatrixRef,
    down: MatrixRef,
}

fn layer_parameters(
    index: u32,
    tensors: &Tensors<'_>,
    config: &ModelConfig,
    sizes: Sizes,
) -> Result<(LayerParams, LayerMatrices), GpuModelError> {
    if let Some(tensor) = unused(tensors.0.tensors()) {
        return Err(GpuModelError::Unused(tensor.name.clone()));
    }
    let matrix = |name: &str| tensors.matrix(&format!("blk.{index}.{name}.weight"));
    let qkv = [matrix("attn_q")?, matrix("attn_k")?, matrix("attn_v")?];
    let (output, gate, up, down) =
        (matrix("attn_output")?, matrix("ffn_gate")?, matrix("ffn_up")?, matrix("ffn_down")?);
    if gate.encoding != up.encoding {
        let (gate, up) = (gate.encoding.name(), up.encoding.name());
        return Err(GpuModelError::Encodings { layer: index, gate, up });
    }
    let (columns, norm_epsilon) = (sizes.columns, config.norm_epsilon);
    let params = LayerParams {
        qkv: QkvParams {
            query: qkv[0].params,
            key: qkv[1].params,
            value: qkv[2].params,
            rope: rope_params(config),
            columns,
            layer: index,
            head_size: config.head_size,
            norm_epsilon,
            has_biases: u32::from(config.qkv_biases),
            has_head_norms: u32::from(config.qk_norms),
            padding: [0; 2],
        },
        attend: AttendParams {
            columns,
            layer: index,
            head_count: config.head_count,
            heads_per_kv: config.heads_per_kv(),
            head_size: config.head_size,
            score_scale: 1.0 / (config.head_size as f32).sqrt(),
            padding: [0; 2],
        },
        project: ProjectParams {
            matrix: output.params,
            columns,
            head_count: config.head_count,
            head_size: config.head_size,
            layer_scale: 1.0,
        },
        gate_up: GateUpParams {
            gate: gate.params,
            up: up.params,
            columns,
            norm_epsilon,
            padding: [0; 2],
        },
        down: DownParams { matrix: down.params, columns, layer_scale: 1.0, padding: [0; 2] },
    };
    Ok((params, LayerMatrices { qkv, output, gate, down }))
}
