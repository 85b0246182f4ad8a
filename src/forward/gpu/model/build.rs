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

use super::adapters::{AdapterResources, AdaptersOnDevice};
use super::buffers::Buffers;
use super::vectors::{norm_weights, vectors};
use super::weights::{Piece, Weights};
use super::{GpuModelError, GpuModelFailure, GpuModelSource, SamplingMode, Sizes, Step};
use crate::forward::Interventions;
use crate::forward::bind::{BoundLayer, BoundMatrix, BoundModel, LayerVector, rope_params};
use crate::forward::cpu::Column;
use crate::forward::cpu::rope::Rotation;
use crate::forward::gpu::adapter_places::GROUPS;
use crate::forward::gpu::kernels::bindings::{
    Bindings, EmbedBindings, LayerBindings, LogitsBindings, SampleBindings,
};
use crate::forward::gpu::kernels::{
    COLUMNS_TOGETHER, KernelFamily, KernelId, KernelSource, Kernels, adapters_def, attend, down,
    embed, encoding_def, fused_layer, gate_up, logits, narrow, product_defs, project, qkv,
    readings, rope, sample, variant_for,
};
use crate::forward::gpu::shaders::Shaders;
use crate::forward::params::{
    AttendParams, DownParams, LayerParams, MatrixParams, ProjectParams, SampleParams,
};
use crate::model::{ModelConfig, PixelModel};
use crate::residency::compute::Pool;
use crate::tiles::Pages;

/// One dispatch: a kernel and its workgroups per column, or per so many of [`COLUMNS_TOGETHER`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Dispatch {
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
    /// Its name, that of its shader.
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
pub(super) struct KernelStage {
    pub group: BindGroup,
    pub dispatches: Vec<Dispatch>,
    /// All of them in one, for few columns.
    pub whole: Option<Dispatch>,
}

/// A model on the device.
#[derive(Resource, Debug)]
pub struct GpuModel {
    /// The texture of its tiles, or of rows of its embedding where it is streamed.
    pub pages: Pages,
    /// Its activations and cache.
    pub buffers: Buffers,
    /// What there is room for.
    pub sizes: Sizes,
    /// The hyperparameters as the file's head has them.
    pub config: ModelConfig,
    /// Whether a layer is one dispatch where it can be.
    pub fused_layers: bool,
    layer_params: Vec<Buffer>,
    /// What its kernels are compiled for.
    pub(super) family: KernelFamily,
    /// Weight of the norm after the embedding, then of each layer's two norms.
    pub(super) norm_weights: Vec<Buffer>,
    /// Of each layer: biases, then norms of heads.
    pub(super) vectors: Vec<Buffer>,
    pub(super) embed: KernelStage,
    pub(super) layers: Vec<KernelStage>,
    /// Pieces of the output matrix that are streamed before the last one.
    pub(super) output_pieces: Vec<KernelStage>,
    /// The output matrix, or its last piece.
    pub(super) logits: KernelStage,
    /// Sampling by the chain, and the greedy one.
    pub(super) sample: [KernelStage; 2],
    pub(super) adapters: Option<AdaptersOnDevice>,
    /// Where activations begin, and cosines and sines: what layers are bound to.
    places: Buffer,
    angles: Buffer,
}

impl GpuModel {
    /// Whether every layer can be computed in one dispatch.
    pub(crate) fn has_fused_layers(&self) -> bool {
        self.layers.iter().all(|stage| stage.whole.is_some())
    }

    /// What samples the next tokens as a step wants it.
    pub(super) fn sampling(&self, step: &Step) -> Option<&KernelStage> {
        match step.sample {
            SamplingMode::None => None,
            SamplingMode::Chain => Some(&self.sample[0]),
            SamplingMode::Greedy => Some(&self.sample[1]),
        }
    }

    /// The kernels of a step without its hooks, some of them more than once.
    pub(super) fn needed(&self, step: &Step, fused: bool) -> impl Iterator<Item = KernelId> {
        let with = |columns| move |stage| (stage, columns);
        let layers = self.layer_stages(step.adapted);
        let layers = [&self.embed].into_iter().chain(layers).map(with(step.columns));
        let output = self.output_pieces.iter().chain([&self.logits]).chain(self.sampling(step));
        let stages =
            layers.chain(output.map(with(step.wanted))).filter(|(_, columns)| *columns > 0);
        stages.flat_map(move |(stage, columns)| {
            let dispatches = self.plan(stage, columns, fused).iter();
            let wanted = dispatches.filter(|dispatch| step.has(dispatch.name));
            wanted.map(move |dispatch| dispatch.plan(columns).0)
        })
    }

    /// The dispatches of one layer for so many columns, which may be one.
    pub(super) fn plan<'a>(
        &self,
        stage: &'a KernelStage,
        columns: u32,
        fused: bool,
    ) -> &'a [Dispatch] {
        match &stage.whole {
            // A dispatch wakes the threads of a software adapter, which takes longer than most
            // kernels.
            Some(whole) if fused && self.fused_layers && columns <= whole.most_columns => {
                std::slice::from_ref(whole)
            }
            _ => &stage.dispatches,
        }
    }

    /// Dispatches of one layer for so many columns, each of a sequence of its own.
    pub fn dispatches_per_layer(&self, columns: u32) -> usize {
        self.layers.first().map_or(0, |stage| self.plan(stage, columns, true).len())
    }

    /// The kernels of one step of so many columns, in their order; with fused layers only where
    /// that is asked for.
    pub fn kernels(&self, columns: u32, fused: bool) -> Vec<KernelUse> {
        let adapted = (0..self.sizes.slots).any(|slot| !self.slot_adapters(slot).is_empty());
        let layers = self.layer_stages(adapted).iter();
        let layers = layers.flat_map(|stage| self.plan(stage, columns, fused));
        let before = self.embed.dispatches.iter();
        let pieces = self.output_pieces.iter().flat_map(|stage| &stage.dispatches);
        let after = pieces.chain(&self.logits.dispatches).chain(&self.sample[0].dispatches);
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
    pub(crate) fn logits_stride(&self) -> usize {
        (self.config.vocab_size as usize).next_multiple_of(64)
    }

    /// Sets the factors of all heads and layers from the next step on.
    pub fn set_interventions(&self, queue: &RenderQueue, interventions: &Interventions) {
        use std::mem::offset_of;
        let project = offset_of!(LayerParams, project) + offset_of!(ProjectParams, layer_scale);
        let down = offset_of!(LayerParams, down) + offset_of!(DownParams, layer_scale);
        let all = self.config.layer_count as usize * self.config.head_count as usize;
        let mut heads = interventions.heads.clone();
        heads.resize(all, 1.0);
        queue.write_buffer(&self.buffers.head_scale, 0, bytemuck::cast_slice(&heads));
        for (layer, params) in self.layer_params.iter().enumerate() {
            let factor = interventions.layer(layer).to_le_bytes();
            for at in [project, down] {
                queue.write_buffer(params, at as u64, &factor);
            }
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
        let builder = ModelBuilder {
            family: wanted.family,
            adapted: false,
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

pub(super) struct ModelBuilder<'a> {
    pub family: KernelFamily,
    /// Whether adapters act on the layers.
    pub adapted: bool,
    pub kernels: &'a mut Kernels,
    pub device: &'a RenderDevice,
    pub queue: &'a RenderQueue,
    pub cache: &'a PipelineCache,
    pub shaders: &'a Shaders,
}

/// What all stages of a model are made from.
struct Shared<'a> {
    bound: &'a BoundModel,
    config: &'a ModelConfig,
    sizes: Sizes,
    workgroups: u32,
    buffers: &'a Buffers,
    weights: &'a Weights,
    places: Buffer,
    angles: Buffer,
}

/// Buffers that a layer has for itself.
#[derive(Clone, Copy)]
struct LayerBuffers<'a> {
    params: &'a Buffer,
    norm_weights: &'a Buffer,
    vectors: &'a Buffer,
}

/// What the kernels of a layer are bound to.
fn layer_bindings<'a>(
    b: &'a Buffers,
    index: usize,
    layer: LayerBuffers<'a>,
    pages: &'a Pages,
    (places, angles): (&'a Buffer, &'a Buffer),
) -> LayerBindings<'a> {
    let [keys, values] = &b.cache[index];
    LayerBindings {
        weights: BindingResource::TextureView(&pages.view),
        tile_place: pages.tile_place.as_entire_binding(),
        activations: b.activations.binding(),
        places: places.as_entire_binding(),
        layer: layer.params.as_entire_binding(),
        gains: layer.norm_weights.as_entire_binding(),
        vectors: layer.vectors.as_entire_binding(),
        angles: angles.as_entire_binding(),
        columns: b.columns.as_entire_binding(),
        keys: keys.binding(),
        values: values.binding(),
        head_scale: b.head_scale.as_entire_binding(),
        barriers: b.barriers.as_entire_binding(),
    }
}

/// A layer, and what can be written to while it is there.
struct LayerOnDevice {
    stage: KernelStage,
    params: Buffer,
    norm_weights: Buffer,
    vectors: Buffer,
}

/// Workgroups of the kernels that give a lane four rows.
fn by_four(matrix: &MatrixParams) -> u32 {
    matrix.rows.div_ceil(32)
}

impl ModelBuilder<'_> {
    fn data(&self, label: &'static str, contents: &[u8], usage: BufferUsages) -> Buffer {
        let usage = usage | BufferUsages::COPY_DST;
        let empty = [0; 16];
        // An empty buffer cannot be bound.
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
        // All kernels of a stage share what they are bound to.
        defs.extend(self.adapted.then(adapters_def));
        let kernel = self.kernels.request(source, defs, self.shaders);
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

    /// Binds what the kernels of a stage share.
    fn stage<'b>(&self, resources: impl Bindings<'b>, dispatches: Vec<Dispatch>) -> KernelStage {
        let kernel = self.kernels.get(dispatches[0].kernel);
        let group = kernel.bind(self.device, self.cache, resources);
        KernelStage { group, dispatches, whole: None }
    }

    fn build(mut self, wanted: &GpuModelSource) -> Result<(GpuModel, Option<Pool>), GpuModelError> {
        let GpuModelSource { model, sizes, persistent_workgroups, .. } = wanted;
        let (model, mut sizes): (&PixelModel, Sizes) = (model, *sizes);
        let config = model.config().clone();
        let bound = BoundModel::new(model)?;
        check_shapes(&bound, &config)?;
        let side = self.device.limits().max_texture_dimension_2d;
        // What is too large for a side of a texture fits a buffer, which has no sides.
        self.family.textures &= sizes.fit_textures(&config, side);
        let weights = Weights::open(self.device, self.queue, wanted, &mut sizes)?;
        let buffers = Buffers::new(
            self.device,
            &config,
            sizes,
            *persistent_workgroups,
            self.family.textures,
        )?;
        let heads = config.layer_count as usize * config.head_count as usize;
        let ones = vec![1f32; heads];
        self.queue.write_buffer(&buffers.head_scale, 0, bytemuck::cast_slice(&ones));
        let shared = Shared {
            places: self.uniform(&buffers.places),
            angles: self.angles(&bound, &config, sizes),
            bound: &bound,
            config: &config,
            sizes,
            workgroups: *persistent_workgroups,
            buffers: &buffers,
            weights: &weights,
        };

        // Norms are folded into products: what writes the residual stream multiplies it with the
        // weight of the norm that comes next.
        let first = bound.layers.first().map_or(&[][..], |l| l.vector(LayerVector::AttentionNorm));
        let gain = self.numbers("gain", first);
        let embed = self.embed(&shared, &gain);
        let (mut layers, mut layer_params) = (Vec::new(), Vec::new());
        let (mut all_gains, mut all_vectors) = (vec![gain], Vec::new());
        for index in 0..bound.layers.len() {
            let layer = self.layer(&shared, index);
            layers.push(layer.stage);
            layer_params.push(layer.params);
            all_gains.push(layer.norm_weights);
            all_vectors.push(layer.vectors);
        }
        let mut output_pieces = self.logits(&shared);
        let logits = output_pieces.pop().expect("the output matrix has rows");
        let sample = self.sample(&shared);
        let Shared { places, angles, .. } = shared;
        let (pages, pool) = weights.into_parts();
        let network = GpuModel {
            pages,
            buffers,
            sizes,
            config,
            fused_layers: *persistent_workgroups > 0,
            layer_params,
            family: self.family,
            norm_weights: all_gains,
            vectors: all_vectors,
            embed,
            layers,
            output_pieces,
            logits,
            sample,
            adapters: None,
            places,
            angles,
        };
        Ok((network, pool))
    }

    fn embed(&mut self, shared: &Shared<'_>, gain: &Buffer) -> KernelStage {
        let (bound, b) = (shared.bound, shared.buffers);
        let params = self.uniform(&bound.embed_params(shared.sizes.columns));
        let embed = self.dispatch(&embed::SOURCE, vec![encoding_def(bound.embedding.encoding)], 1);
        let pages = shared.weights.embedding();
        let resources = EmbedBindings {
            weights: BindingResource::TextureView(&pages.view),
            tile_place: pages.tile_place.as_entire_binding(),
            activations: b.activations.binding(),
            places: shared.places.as_entire_binding(),
            params: params.as_entire_binding(),
            gain: gain.as_entire_binding(),
            columns: b.columns.as_entire_binding(),
            barriers: b.barriers.as_entire_binding(),
        };
        self.stage(resources, vec![embed])
    }

    fn layer(&mut self, shared: &Shared<'_>, index: usize) -> LayerOnDevice {
        let (bound, config, b) = (shared.bound, shared.config, shared.buffers);
        let layer = &bound.layers[index];
        let params = layer.params(config, shared.sizes.columns, 1.0);
        let uniform = self.uniform(&params);
        let norm_weights = self.numbers("gains", &norm_weights(bound, index));
        let vectors = self.numbers("vectors", &vectors(layer, config));
        let dispatches = self.layer_dispatches(&params, layer);
        let pages = shared.weights.layer(params.qkv.layer);
        let own = LayerBuffers { params: &uniform, norm_weights: &norm_weights, vectors: &vectors };
        let resources = layer_bindings(b, index, own, pages, (&shared.places, &shared.angles));
        let mut stage = self.stage(resources, dispatches);
        stage.whole = self.fused_layer(&params, layer, shared.workgroups, shared.sizes, 0);
        LayerOnDevice { stage, params: uniform, norm_weights, vectors }
    }

    /// The layers of a model on the device, with adapters that have so many quads of ranks in each
    /// group of a layer's matrices.
    pub(super) fn adapted_layers(
        mut self,
        network: &GpuModel,
        bound: &BoundModel,
        pool: Option<&Pool>,
        adapters: &AdapterResources,
        ranks: impl Fn(usize) -> [u32; GROUPS],
    ) -> Vec<KernelStage> {
        let sizes = network.sizes;
        let mut stages = Vec::new();
        for (index, layer) in bound.layers.iter().enumerate() {
            let params = layer.params(&network.config, sizes.columns, 1.0);
            let ranks = ranks(index);
            let dispatches = self.layer_dispatches(&params, layer);
            let dispatches = self.with_narrow(dispatches, ranks);
            let own = LayerBuffers {
                params: &network.layer_params[index],
                // Behind that of the embedding.
                norm_weights: &network.norm_weights[index + 1],
                vectors: &network.vectors[index],
            };
            let pages = pool.map_or(&network.pages, |pool| pool.slot(&pool.plan().units[index]));
            let shared = (&network.places, &network.angles);
            let resources = layer_bindings(&network.buffers, index, own, pages, shared);
            let kernel = self.kernels.get(dispatches[0].kernel);
            let group =
                kernel.bind_with_adapters(self.device, self.cache, resources, adapters.bindings());
            let turns = narrow_turns(&params, ranks);
            let workgroups = network.buffers.places.workgroups;
            let whole = self.fused_layer(&params, layer, workgroups, sizes, turns);
            stages.push(KernelStage { group, dispatches, whole });
        }
        stages
    }

    /// Before each product what adapters make of its inputs.
    fn with_narrow(&mut self, dispatches: Vec<Dispatch>, ranks: [u32; GROUPS]) -> Vec<Dispatch> {
        let mut all = Vec::new();
        for dispatch in dispatches {
            let point = match dispatch.name {
                // Matrices of several encodings have a dispatch each, and one `A x`.
                name if name == qkv::SOURCE.name && all.is_empty() => Some(0),
                name if name == project::SOURCE.name => Some(1),
                name if name == gate_up::SOURCE.name => Some(2),
                name if name == down::SOURCE.name => Some(3),
                _ => None,
            };
            if let Some(point) = point.filter(|&point| ranks[point] > 0) {
                let defs = narrow::shader_defs(point as u32);
                all.push(self.dispatch(&narrow::SOURCE, defs, ranks[point]));
            }
            all.push(dispatch);
        }
        all
    }

    /// The output matrix in its pieces, of which there is one where nothing is streamed.
    fn logits(&mut self, shared: &Shared<'_>) -> Vec<KernelStage> {
        let (bound, b) = (shared.bound, shared.buffers);
        let (output, groups) = (bound.output, bound.output.groups());
        let pieces = shared.weights.output(groups).into_iter();
        let piece = |(first_group, count, pages): Piece<'_>| {
            let params = bound.logits_params(shared.config, shared.sizes.columns, first_group);
            let params = self.uniform(&params);
            let logits = self.product(
                &logits::SOURCE,
                |columns| product_defs(output.encoding, columns),
                count,
                // All row groups have one size: the last is filled up.
                output.bytes * u64::from(count) / u64::from(groups),
            );
            let resources = LogitsBindings {
                weights: BindingResource::TextureView(&pages.view),
                tile_place: pages.tile_place.as_entire_binding(),
                activations: b.activations.binding(),
                places: shared.places.as_entire_binding(),
                params: params.as_entire_binding(),
                wanted: b.wanted.as_entire_binding(),
                logits_out: b.logits.as_entire_binding(),
                best: b.best.as_entire_binding(),
            };
            self.stage(resources, vec![logits])
        };
        pieces.map(piece).collect()
    }

    fn sample(&mut self, shared: &Shared<'_>) -> [KernelStage; 2] {
        let (b, sizes) = (shared.buffers, shared.sizes);
        let params = SampleParams {
            groups: shared.bound.output.groups(),
            stride: sizes.steps + 1,
            rows: sizes.columns,
            vocabulary: shared.config.vocab_size,
        };
        let params = self.uniform(&params);
        let s = &b.sampling;
        [false, true].map(|greedy| {
            let dispatch = self.dispatch(&sample::SOURCE, sample::shader_defs(greedy), 1);
            let resources = SampleBindings {
                params: params.as_entire_binding(),
                best: b.best.as_entire_binding(),
                logits: b.logits.as_entire_binding(),
                listed: s.listed.as_entire_binding(),
                recent: s.recent.as_entire_binding(),
                biases: s.biases.as_entire_binding(),
                wanted: b.wanted.as_entire_binding(),
                columns: b.columns.as_entire_binding(),
                sampled: s.sampled.as_entire_binding(),
                sampling: s.words.as_entire_binding(),
            };
            self.stage(resources, vec![dispatch])
        })
    }

    /// Cosines and sines of every position of the context.
    fn angles(&self, bound: &BoundModel, config: &ModelConfig, sizes: Sizes) -> Buffer {
        // Angles need `f64`, which WGSL has not: they are made here, once.
        let positions: Vec<Column> = (0..sizes.context)
            .map(|position| Column { token: 0, slot: 0, position, wants_logits: false })
            .collect();
        let mut angles = Vec::new();
        let rotation = Rotation::new(&rope_params(config), bound.rope_factors.as_deref());
        rotation.angles(&positions, &mut angles);
        self.data("angles", bytemuck::cast_slice(&angles), BufferUsages::STORAGE)
    }

    /// The kernels of a layer one by one, in their order.
    fn layer_dispatches(&mut self, params: &LayerParams, layer: &BoundLayer) -> Vec<Dispatch> {
        let attend = &params.attend;
        let kv_heads = attend.head_count / attend.heads_per_kv;
        let together = attend::heads_together(attend.heads_per_kv);
        let defs = attend::shader_defs(attend.head_size, together);
        let mut dispatches = self.qkv(layer);
        dispatches.extend([
            self.dispatch(&rope::SOURCE, Vec::new(), attend.head_count + 2 * kv_heads),
            self.dispatch(&attend::SOURCE, defs, attend.head_count / together),
            self.matrix(&project::SOURCE, &layer.output, layer.output.bytes),
            self.matrix(&gate_up::SOURCE, &layer.gate, layer.gate.bytes + layer.up.bytes),
            self.matrix(&down::SOURCE, &layer.down, layer.down.bytes),
        ]);
        dispatches
    }

    /// Query, key and value: matrices side by side in one encoding share a dispatch.
    fn qkv(&mut self, layer: &BoundLayer) -> Vec<Dispatch> {
        let mut dispatches = Vec::new();
        let (mut first, qkv) = (0, &layer.qkv);
        while first < 3 {
            let encoding = qkv[first].encoding;
            let same = qkv[first..].iter().take_while(|matrix| matrix.encoding == encoding).count();
            let shared = &qkv[first..first + same];
            let groups = shared.iter().map(BoundMatrix::groups).sum();
            let bytes = shared.iter().map(|matrix| matrix.bytes).sum();
            let last = first + same - 1;
            let defs = |columns| qkv::shader_defs(encoding, first as u32, last as u32, columns);
            dispatches.push(self.product(&qkv::SOURCE, defs, groups, bytes));
            first += same;
        }
        dispatches
    }

    /// A product that gives a lane four rows of a matrix.
    fn matrix(
        &mut self,
        source: &'static KernelSource,
        matrix: &BoundMatrix,
        bytes: u64,
    ) -> Dispatch {
        let defs = |columns| product_defs(matrix.encoding, columns);
        self.product(source, defs, by_four(&matrix.params), bytes)
    }

    /// The whole layer in one dispatch, where all its matrices share an encoding and there is
    /// little enough to do.
    fn fused_layer(
        &mut self,
        params: &LayerParams,
        layer: &BoundLayer,
        workgroups: u32,
        sizes: Sizes,
        more_turns: u64,
    ) -> Option<Dispatch> {
        let (encoding, all) = (layer.gate.encoding, layer.matrices());
        // Its workgroups have eight lanes, which are handed their work by a shuffle of a subgroup.
        if workgroups == 0
            || self.family.split
            || !self.family.subgroups
            || all.iter().any(|matrix| matrix.encoding != encoding)
        {
            return None;
        }
        // A turn of `gate_up` is one of both matrices.
        let products: u64 =
            all.iter().map(|matrix| turns(&matrix.params)).sum::<u64>() - turns(&layer.up.params);
        let fits = |columns: u32| {
            // One workgroup may do nearly all, where other programs keep the others from their
            // processors.
            let attention = attention_turns(&params.attend, columns, sizes.context);
            let products = products * u64::from(readings(columns));
            products + attention + more_turns * u64::from(columns)
                < u64::from(fused_layer::MOST_TURNS)
        };
        // The kernel for many takes a while to compile, and is for columns of as many sequences.
        let most = if sizes.slots > 1 { fused_layer::MOST_COLUMNS } else { 1 };
        let most_columns = (1..=most).rev().find(|&columns| fits(columns))?;
        let together = attend::heads_together(params.attend.heads_per_kv);
        let defs = |columns| {
            fused_layer::shader_defs(encoding, params.attend.head_size, together, columns)
        };
        let weight_bytes = all.iter().map(|matrix| matrix.bytes).sum::<u64>();
        let one = self.dispatch(&fused_layer::SOURCE, defs(1), workgroups);
        let variants = COLUMNS_TOGETHER.map(|columns| {
            // What is compiled ahead would else compile variants that no step asks for.
            let needed = variant_for(columns) <= variant_for(most_columns);
            if needed {
                self.dispatch(&fused_layer::SOURCE, defs(columns), workgroups).kernel
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

/// Turns of `narrow` for a column: one per quad of the ranks and 32 inputs; and of what is added to
/// the products, one per quad of the ranks and eight quads of rows.
fn narrow_turns(params: &LayerParams, ranks: [u32; GROUPS]) -> u64 {
    let (qkv, gate_up) = (&params.qkv, &params.gate_up);
    let sides = [
        (qkv.query.columns, qkv.query.rows + qkv.key.rows + qkv.value.rows),
        (params.project.matrix.columns, params.project.matrix.rows),
        (gate_up.gate.columns, gate_up.gate.rows + gate_up.up.rows),
        (params.down.matrix.columns, params.down.matrix.rows),
    ];
    let turns = |((inputs, rows), quads): ((u32, u32), u32)| {
        u64::from(quads) * u64::from(inputs.div_ceil(32) + rows.div_ceil(32))
    };
    sides.into_iter().zip(ranks).map(turns).sum()
}

/// Turns of the loops of attention: one per eight positions, and some for RoPE.
fn attention_turns(params: &AttendParams, columns: u32, context: u32) -> u64 {
    let kv_heads = params.head_count / params.heads_per_kv;
    let groups = params.heads_per_kv / attend::heads_together(params.heads_per_kv);
    u64::from(columns * kv_heads)
        * (u64::from(groups) * u64::from(context.div_ceil(8))
            + 8 * u64::from(params.heads_per_kv + 2))
}

/// Refuses what the kernels cannot compute with.
fn check_shapes(bound: &BoundModel, config: &ModelConfig) -> Result<(), GpuModelError> {
    let multiple_of = |multiple: u32, what: &'static str, found: u32| {
        if found.is_multiple_of(multiple) {
            return Ok(());
        }
        Err(GpuModelError::Shape { what, found, multiple })
    };
    // Eight lanes take equal parts of a head; products go by blocks of 32 inputs.
    multiple_of(8, "the head size", config.head_size)?;
    multiple_of(8, "what RoPE turns of a head", config.rope_size)?;
    let matrices = bound.layers.iter().flat_map(BoundLayer::matrices);
    for matrix in matrices.chain([&bound.embedding, &bound.output]) {
        multiple_of(32, "a matrix's inputs", matrix.params.columns)?;
    }
    for (layer, BoundLayer { gate, up, .. }) in (0..).zip(&bound.layers) {
        // `gate_up` multiplies both in one loop, compiled for one encoding.
        if gate.encoding != up.encoding {
            let (gate, up) = (gate.encoding.name(), up.encoding.name());
            return Err(GpuModelError::Encodings { layer, gate, up });
        }
    }
    Ok(())
}
