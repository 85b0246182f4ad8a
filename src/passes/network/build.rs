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
use super::{NetworkError, NetworkFailure, NetworkModel, Sizes};
use crate::model::{ModelConfig, PixelModel};
use crate::passes::kernels::{
    KernelId, KernelSource, Kernels, MANY_COLUMNS, attend, choose, down, embed, encoding_def, gate_up, logits,
    product_defs, project, qkv, rotate,
};
use crate::passes::params::{
    AttendParams, ChooseParams, DownParams, EmbedParams, GateUpParams, LogitsParams, MatrixParams,
    ProjectParams, QkvParams,
};
use crate::passes::reference::rope::Rotation;
use crate::passes::reference::{Column, rope_params};
use crate::shaders::Shaders;
use crate::tiles::Pages;

/// One dispatch: a kernel, what it is bound to, and its workgroups per column or per [`MANY_COLUMNS`].
#[derive(Debug)]
pub(super) struct Dispatch {
    /// The kernel's name.
    pub name: &'static str,
    /// For one column at a time.
    kernel: KernelId,
    /// For [`MANY_COLUMNS`] at a time, where the kernel is a product.
    many: Option<KernelId>,
    pub group: BindGroup,
    workgroups: u32,
}

impl Dispatch {
    /// The kernel for so many columns, and its workgroups.
    pub fn plan(&self, columns: u32) -> (KernelId, [u32; 3]) {
        match self.many {
            Some(many) if columns > 1 => (many, [self.workgroups, columns.div_ceil(MANY_COLUMNS), 1]),
            _ => (self.kernel, [self.workgroups, columns, 1]),
        }
    }
}

/// A model on the device.
#[derive(Resource, Debug)]
pub struct Network {
    /// Its tiles.
    pub pages: Pages,
    /// Its activations and cache.
    pub buffers: Buffers,
    /// What there is room for.
    pub sizes: Sizes,
    /// The hyperparameters.
    pub config: ModelConfig,
    /// Parameters of `project` and `down` of each layer, which hold the layer's factor.
    layer_scale: Vec<[(Buffer, u64); 2]>,
    /// Weights of the norms that follow the embedding and each layer.
    pub(super) gains: Vec<Buffer>,
    pub(super) embed: Dispatch,
    pub(super) layers: Vec<Vec<Dispatch>>,
    pub(super) logits: Dispatch,
    pub(super) choose: Dispatch,
}

impl Network {
    /// Dispatches of one layer of one step.
    pub fn dispatches_per_layer(&self) -> usize {
        self.layers.first().map_or(0, Vec::len)
    }

    /// Dispatches of one whole step.
    pub fn dispatches(&self) -> usize {
        self.layers.iter().map(Vec::len).sum::<usize>() + 3
    }

    /// How often a kernel is dispatched in one step.
    pub fn count(&self, kernel: &str) -> usize {
        let others = [&self.embed, &self.logits, &self.choose];
        self.layers.iter().flatten().chain(others).filter(|dispatch| dispatch.name == kernel).count()
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

    /// Sets the factor on everything that a layer adds to the residual stream, from the next step on.
    pub fn set_layer_scale(&self, queue: &RenderQueue, layer: u32, factor: f32) {
        for (params, at) in &self.layer_scale[layer as usize] {
            queue.write_buffer(params, *at, &factor.to_le_bytes());
        }
    }
}

/// Runs once per device.
pub(super) fn build_network(
    mut commands: Commands,
    wanted: Res<NetworkModel>,
    mut failure: ResMut<NetworkFailure>,
    mut kernels: ResMut<Kernels>,
    device: Res<RenderDevice>,
    queue: Res<RenderQueue>,
    adapter: Res<RenderAdapterInfo>,
    cache: Res<PipelineCache>,
    shaders: Res<Shaders>,
) {
    let (least, most) = (adapter.subgroup_min_size, adapter.subgroup_max_size);
    let has_subgroups = device.features().contains(wgpu::Features::SUBGROUP);
    let result = if has_subgroups && least >= 8 {
        let builder = Builder {
            kernels: &mut kernels,
            device: &device,
            queue: &queue,
            cache: &cache,
            shaders: &shaders,
        };
        builder.build(&wanted)
    } else {
        Err(NetworkError::Subgroups { least, most })
    };
    match result {
        Ok(network) => commands.insert_resource(network),
        Err(error) => failure.0 = Some(error),
    }
}

struct Builder<'a> {
    kernels: &'a mut Kernels,
    device: &'a RenderDevice,
    queue: &'a RenderQueue,
    cache: &'a PipelineCache,
    shaders: &'a Shaders,
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
        self.device.create_buffer_with_data(&BufferInitDescriptor { label: Some(label), contents, usage })
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
        defs: Vec<ShaderDefVal>,
        pages: Option<&Pages>,
        buffers: &[&Buffer],
        workgroups: u32,
    ) -> Dispatch {
        let kernel = self.kernels.request(source, defs, self.shaders, self.cache);
        let mut resources = Vec::new();
        if let Some(pages) = pages {
            resources.push(BindingResource::TextureView(&pages.view));
            resources.push(pages.tile_line.as_entire_binding());
        }
        resources.extend(buffers.iter().map(|buffer| buffer.as_entire_binding()));
        let group = self.kernels.get(kernel).bind(self.device, self.cache, &resources);
        Dispatch { name: source.name, kernel, many: None, group, workgroups }
    }

    /// A kernel that multiplies matrices, in its variants for one and for many columns.
    fn product(
        &mut self,
        source: &'static KernelSource,
        defs: impl Fn(u32) -> Vec<ShaderDefVal>,
        pages: &Pages,
        buffers: &[&Buffer],
        workgroups: u32,
    ) -> Dispatch {
        let one = self.dispatch(source, defs(1), Some(pages), buffers, workgroups);
        let many = self.kernels.request(source, defs(MANY_COLUMNS), self.shaders, self.cache);
        Dispatch { many: Some(many), ..one }
    }

    fn build(mut self, wanted: &NetworkModel) -> Result<Network, NetworkError> {
        let NetworkModel { model, sizes } = wanted;
        let (model, sizes): (&PixelModel, Sizes) = (model, *sizes);
        let config = model.config().clone();
        if !config.head_size.is_multiple_of(8) {
            return Err(NetworkError::Shape { what: "the head size", found: config.head_size, multiple: 8 });
        }
        let tensors = Tensors(model);
        let pages = Pages::upload(self.device, self.queue, model)?;
        let buffers = Buffers::new(self.device, &config, sizes)?;
        let heads = config.layer_count as usize * config.head_count as usize;
        self.queue.write_buffer(&buffers.head_scale, 0, bytemuck::cast_slice(&vec![1f32; heads]));
        let angles = self.angles(&tensors, &config, sizes)?;

        let embedding = tensors.matrix("token_embd.weight")?;
        let output = if config.tied_embeddings { embedding } else { tensors.matrix("output.weight")? };
        // Each kernel that writes the residual stream multiplies it with the weight of the norm that comes next.
        let gain = |builder: &Self, name: &str| -> Result<Buffer, NetworkError> {
            Ok(builder.numbers("gain", &tensors.vector(name)?))
        };
        let mut attention_gains = Vec::new();
        for layer in 0..config.layer_count {
            attention_gains.push(gain(&self, &format!("blk.{layer}.attn_norm.weight"))?);
        }
        attention_gains.push(gain(&self, "output_norm.weight")?);

        let params = EmbedParams { matrix: embedding.params, columns: sizes.columns, padding: [0; 3] };
        let params = self.uniform(&params);
        let b = &buffers;
        let embed = self.dispatch(
            &embed::SOURCE,
            vec![encoding_def(embedding.encoding)],
            Some(&pages),
            &[&b.columns, &params, &attention_gains[0], &b.residual, &b.scaled, &b.squares],
            1,
        );
        let (mut layers, mut layer_scale) = (Vec::new(), Vec::new());
        for index in 0..config.layer_count {
            let next = &attention_gains[index as usize + 1];
            let mut dispatches = self.attention(index, &tensors, &config, sizes, &pages, b, &angles)?;
            let feed_forward_gain = gain(&self, &format!("blk.{index}.ffn_norm.weight"))?;
            let (rest, scales) =
                self.feed_forward(index, &tensors, &config, sizes, &pages, b, [&feed_forward_gain, next])?;
            dispatches.extend(rest);
            layers.push(dispatches);
            layer_scale.push(scales);
        }
        let params = LogitsParams {
            matrix: output.params,
            columns: sizes.columns,
            norm_epsilon: config.norm_epsilon,
            padding: [0; 2],
        };
        let groups = by_eight(&output.params);
        let params = self.uniform(&params);
        let logits = self.product(
            &logits::SOURCE,
            |columns| product_defs(output.encoding, columns),
            &pages,
            &[&b.scaled, &b.squares, &params, &b.wanted, &b.logits, &b.best],
            groups,
        );
        let params = ChooseParams {
            groups,
            stride: sizes.repeats + 1,
            rows: sizes.columns,
            vocabulary: config.vocab_size,
        };
        let params = self.uniform(&params);
        let s = &b.sampling;
        let bound = [
            &params, &b.best, &b.logits, &s.listed, &s.recent, &s.biases, &b.wanted, &b.columns, &s.drawn, &s.words,
        ];
        let choose = self.dispatch(&choose::SOURCE, Vec::new(), None, &bound, 1);
        let gains = attention_gains;
        Ok(Network { pages, buffers, sizes, config, layer_scale, gains, embed, layers, logits, choose })
    }

    fn angles(
        &self,
        tensors: &Tensors<'_>,
        config: &ModelConfig,
        sizes: Sizes,
    ) -> Result<Buffer, NetworkError> {
        let factors =
            tensors.0.tensor("rope_freqs.weight").map(|_| tensors.vector("rope_freqs.weight")).transpose()?;
        let positions: Vec<Column> = (0..sizes.context)
            .map(|position| Column { token: 0, slot: 0, position, wants_logits: false })
            .collect();
        let mut angles = Vec::new();
        Rotation::new(&rope_params(config), factors.as_deref()).angles(&positions, &mut angles);
        Ok(self.data("angles", bytemuck::cast_slice(&angles), BufferUsages::STORAGE))
    }

    fn attention(
        &mut self,
        index: u32,
        tensors: &Tensors<'_>,
        config: &ModelConfig,
        sizes: Sizes,
        pages: &Pages,
        b: &Buffers,
        angles: &Buffer,
    ) -> Result<Vec<Dispatch>, NetworkError> {
        let matrices: [MatrixRef; 3] = [
            tensors.matrix(&format!("blk.{index}.attn_q.weight"))?,
            tensors.matrix(&format!("blk.{index}.attn_k.weight"))?,
            tensors.matrix(&format!("blk.{index}.attn_v.weight"))?,
        ];
        let params = QkvParams {
            query: matrices[0].params,
            key: matrices[1].params,
            value: matrices[2].params,
            rope: rope_params(config),
            columns: sizes.columns,
            layer: index,
            head_size: config.head_size,
            norm_epsilon: config.norm_epsilon,
            has_biases: u32::from(config.qkv_biases),
            has_head_norms: u32::from(config.qk_norms),
            padding: [0; 2],
        };
        let params = self.uniform(&params);
        let mut vectors = Vec::new();
        for name in ["attn_q.bias", "attn_k.bias", "attn_v.bias"] {
            if config.qkv_biases {
                vectors.extend(tensors.vector(&format!("blk.{index}.{name}"))?);
            }
        }
        // The norms' place does not depend on whether there are biases.
        vectors.resize((config.query_size() + 2 * config.kv_size()) as usize, 0.0);
        for name in ["attn_q_norm.weight", "attn_k_norm.weight"] {
            if config.qk_norms {
                vectors.extend(tensors.vector(&format!("blk.{index}.{name}"))?);
            }
        }
        let vectors = self.numbers("vectors", &vectors);

        let mut dispatches = Vec::new();
        // Matrices side by side in one encoding share a dispatch.
        let mut first = 0;
        while first < 3 {
            let encoding = matrices[first].encoding;
            let same = matrices[first..].iter().take_while(|matrix| matrix.encoding == encoding).count();
            let groups = matrices[first..first + same].iter().map(|matrix| by_eight(&matrix.params)).sum();
            let last = first + same - 1;
            let defs = |columns| qkv::shader_defs(encoding, first as u32, last as u32, columns);
            let bound = [&b.scaled, &b.squares, &params, &b.projected];
            dispatches.push(self.product(&qkv::SOURCE, defs, pages, &bound, groups));
            first += same;
        }
        let [keys, values] = &b.cache[index as usize];
        let bound = [&params, &b.columns, angles, &b.projected, &vectors, &b.query, keys, values];
        let heads = config.head_count + 2 * config.kv_head_count;
        dispatches.push(self.dispatch(&rotate::SOURCE, Vec::new(), None, &bound, heads));

        let params = AttendParams {
            columns: sizes.columns,
            layer: index,
            head_count: config.head_count,
            heads_per_kv: config.heads_per_kv(),
            head_size: config.head_size,
            score_scale: 1.0 / (config.head_size as f32).sqrt(),
            padding: [0; 2],
        };
        let params = self.uniform(&params);
        let bound = [&params, &b.columns, &b.query, keys, values, &b.head_scale, &b.attended];
        let together = attend::heads_together(config.heads_per_kv());
        let defs = attend::shader_defs(config.head_size, together);
        dispatches.push(self.dispatch(&attend::SOURCE, defs, None, &bound, config.head_count / together));
        Ok(dispatches)
    }

    /// The attention output matrix and the feed-forward block, with the weights of the two norms that follow the two sums; and where the layer's factors
    /// are.
    fn feed_forward(
        &mut self,
        index: u32,
        tensors: &Tensors<'_>,
        config: &ModelConfig,
        sizes: Sizes,
        pages: &Pages,
        b: &Buffers,
        gains: [&Buffer; 2],
    ) -> Result<(Vec<Dispatch>, [(Buffer, u64); 2]), NetworkError> {
        let matrix = |name: &str| tensors.matrix(&format!("blk.{index}.{name}.weight"));
        let output = matrix("attn_output")?;
        let params = ProjectParams {
            matrix: output.params,
            columns: sizes.columns,
            head_count: config.head_count,
            head_size: config.head_size,
            layer_scale: 1.0,
        };
        let project_params = self.uniform(&params);
        let bound = [&b.attended, &project_params, gains[0], &b.residual, &b.scaled, &b.squares];
        let defs = |columns| product_defs(output.encoding, columns);
        let project = self.product(&project::SOURCE, defs, pages, &bound, by_four(&output.params));

        let (gate, up) = (matrix("ffn_gate")?, matrix("ffn_up")?);
        if gate.encoding != up.encoding {
            let (gate, up) = (gate.encoding.name(), up.encoding.name());
            return Err(NetworkError::Encodings { layer: index, gate, up });
        }
        let params = GateUpParams {
            gate: gate.params,
            up: up.params,
            columns: sizes.columns,
            norm_epsilon: config.norm_epsilon,
            padding: [0; 2],
        };
        let params = self.uniform(&params);
        let bound = [&b.scaled, &b.squares, &params, &b.hidden];
        let defs = |columns| product_defs(gate.encoding, columns);
        let gate_up = self.product(&gate_up::SOURCE, defs, pages, &bound, by_four(&gate.params));

        let down = matrix("ffn_down")?;
        let params =
            DownParams { matrix: down.params, columns: sizes.columns, layer_scale: 1.0, padding: [0; 2] };
        let down_params = self.uniform(&params);
        let bound = [&b.hidden, &down_params, gains[1], &b.residual, &b.scaled, &b.squares];
        let defs = |columns| product_defs(down.encoding, columns);
        let down = self.product(&down::SOURCE, defs, pages, &bound, by_four(&down.params));
        let scales = [
            (project_params, std::mem::offset_of!(ProjectParams, layer_scale) as u64),
            (down_params, std::mem::offset_of!(DownParams, layer_scale) as u64),
        ];
        Ok((vec![project, gate_up, down], scales))
    }
}
