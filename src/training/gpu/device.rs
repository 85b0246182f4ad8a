//! A model that learns on an adapter: its pages, activations and adapter, the compiled kernels, and
//! the playing of a program's dispatches.

use bevy::prelude::*;
use bevy::render::{
    RenderApp,
    render_resource::{
        BindGroup, BindingResource, Buffer, BufferBinding, BufferDescriptor, BufferInitDescriptor,
        BufferUsages, CachedComputePipelineId, CachedPipelineState, CommandEncoderDescriptor,
        ComputePassDescriptor, ComputePipeline, PipelineCache, PollType,
    },
    renderer::{RenderAdapter, RenderAdapterInfo, RenderDevice, RenderQueue},
};
use bevy::shader::ShaderCacheError;
use wgpu::{AdapterInfo, DeviceType};

use super::kernels::{BackShape, KernelVariants};
use super::params::SLOT;
use super::pass::SequencePass;
use super::places::TrainingPlaces;
use super::program::{Builder, Op, Program};
use super::vectors::PackedVectors;
use super::{GpuTraining, LearnerNumbers};
use crate::engine::gpu::headless::{headless_app, prepare};
use crate::forward::bind::{BoundLayer, BoundModel, rope_params};
use crate::forward::cpu::Column;
use crate::forward::cpu::rope::Rotation;
use crate::forward::gpu::adapter_places::{AdapterPlaces, COPIES, ROW};
use crate::forward::gpu::kernels::KernelFamily;
use crate::forward::gpu::model::Quads;
use crate::forward::gpu::readback::PendingReadback;
use crate::forward::gpu::shaders::{Shaders, ShadersPlugin, load_sources};
use crate::model::adapter::Adapter;
use crate::model::{ModelConfig, PixelModel};
use crate::tiles::Pages;
use crate::training::{TrainError, TrainingSettings, start};

/// Frames in which pipelines must be compiled.
const STARTING_FRAMES: u32 = 64;

/// The device's half of a trainer.
pub struct Learner {
    pub device: RenderDevice,
    pub queue: RenderQueue,
    pub adapter: AdapterPlaces,
    pub columns: u32,
    pub program: Program,
    pub names: Vec<&'static str>,
    pub vectors: Vec<f32>,
    pub info: AdapterInfo,
    pipelines: Vec<ComputePipeline>,
    group: BindGroup,
    activations: Quads,
    trained: Quads,
    params: Buffer,
    words: Buffer,
    wanted: Buffer,
    results: Buffer,
    /// Held as long as the kernels read it.
    _pages: Pages,
}

fn failed(error: impl std::fmt::Display) -> TrainError {
    TrainError::Device(error.to_string())
}

/// A learner whose kernels are being compiled.
pub struct LearnerOpening {
    device: RenderDevice,
    queue: RenderQueue,
    info: AdapterInfo,
    kernels: KernelVariants,
    queued: Vec<(&'static str, CachedComputePipelineId)>,
    program: Program,
    places: AdapterPlaces,
    values: Vec<f32>,
    vectors: Vec<f32>,
    columns: u32,
    pages: Pages,
    buffers: LearnerBuffers,
}

impl LearnerOpening {
    /// Puts what is trained beside a model's pages, in a render world that has shaders.
    pub fn new(
        world: &World,
        pages: Option<Pages>,
        model: &PixelModel,
        (adapter, settings): (&Adapter, &TrainingSettings),
        training: &GpuTraining,
    ) -> Result<Self, TrainError> {
        let device = world.resource::<RenderDevice>().clone();
        let queue = world.resource::<RenderQueue>().clone();
        let info = AdapterInfo::clone(world.resource::<RenderAdapterInfo>());
        let textures = info.device_type == DeviceType::Cpu
            && KernelFamily::can_use_textures(world.resource::<RenderAdapter>());
        let subgroups = KernelFamily::can_use_subgroups(&info, device.features());
        let config = model.config();
        let bound = BoundModel::new(model).map_err(failed)?;
        check_shapes(&bound, config)?;
        let vectors = PackedVectors::new(&bound);
        let scale = |rank| start::scale(settings, rank);
        let places =
            AdapterPlaces::new(adapter, &bound.layers, scale).map_err(TrainError::Model)?;
        let columns = training.columns.next_multiple_of(8);
        let room = most_quads(&device, textures);
        let room = room.min(training.memory.map_or(u64::MAX, |bytes| bytes / 16));
        let activations = TrainingPlaces::new(config, columns, places.ranks(), room);
        let mut kernels = KernelVariants::new(textures, subgroups);
        let program = Builder {
            config,
            bound: &bound,
            vectors: &vectors,
            adapter: &places,
            places: &activations,
            columns,
            shape: training.shape.unwrap_or(BackShape::ALL[0]),
            kernels: &mut kernels,
            params: Vec::new(),
        }
        .build();
        let store = |label, quads: u64| store(&device, label, quads, textures);
        let buffers = LearnerBuffers {
            activations: store("training:activations", activations.quads)?,
            trained: store("training:trained", u64::from(places.quads) * u64::from(COPIES))?,
            params: data(&device, "params", &program.params, BufferUsages::UNIFORM),
            vectors: numbers(&device, "vectors", &vectors.numbers),
            angles: angles(&device, config, &bound, columns),
            words: empty(&device, "columns", (u64::from(columns) * 2 + 1) * 16),
            results: empty(&device, "results", results_words(&program) * 4),
            wanted: empty(&device, "wanted", u64::from(columns) * 4),
        };
        let pages = match pages {
            Some(pages) => pages,
            None => Pages::upload(&device, &queue, model).map_err(failed)?,
        };
        let queued = kernels.queue(world.resource(), world.resource::<Shaders>());
        Ok(Self {
            values: places.values(adapter),
            vectors: vectors.numbers,
            device,
            queue,
            info,
            kernels,
            queued,
            program,
            places,
            columns,
            pages,
            buffers,
        })
    }

    /// The learner, or what is opened still where its kernels are not compiled yet.
    pub fn poll(self, cache: &PipelineCache) -> Result<Result<Learner, Box<Self>>, TrainError> {
        for &(name, id) in &self.queued {
            match cache.get_compute_pipeline_state(id) {
                // The shaders are assets and arrive a frame late.
                CachedPipelineState::Err(
                    ShaderCacheError::ShaderNotLoaded(_)
                    | ShaderCacheError::ShaderImportNotYetAvailable,
                ) => {}
                CachedPipelineState::Err(error) => {
                    return Err(failed(format!("the kernel {name} does not compile: {error}")));
                }
                _ => {}
            }
        }
        let all = self.queued.iter().map(|&(_, id)| cache.get_compute_pipeline(id).cloned());
        let Some(pipelines) = all.collect::<Option<Vec<_>>>() else {
            return Ok(Err(Box::new(self)));
        };
        let resources = self.buffers.resources(&self.pages);
        let group = self.kernels.bind(&self.device, cache, resources);
        let LearnerBuffers { activations, trained, params, words, wanted, results, .. } =
            self.buffers;
        let learner = Learner {
            names: self.queued.iter().map(|(name, _)| *name).collect(),
            vectors: self.vectors,
            pipelines,
            group,
            activations,
            trained,
            params,
            words,
            wanted,
            results,
            columns: self.columns,
            program: self.program,
            info: self.info,
            adapter: self.places,
            device: self.device,
            queue: self.queue,
            _pages: self.pages,
        };
        learner.write_copy(0, &self.values);
        Ok(Ok(learner))
    }
}

/// Opens an adapter without a window, and puts a model and what is trained there.
pub fn open_headless(
    model: &PixelModel,
    trained: (&Adapter, &TrainingSettings),
    training: &GpuTraining,
) -> Result<Learner, TrainError> {
    let mut app = headless_app(&training.choice).map_err(failed)?;
    let sources = load_sources(training.shaders.as_deref()).map_err(failed)?;
    app.add_plugins(ShadersPlugin { sources });
    prepare(&mut app);
    // The shaders come to the render world with the first frame.
    app.update();
    let world = app.sub_app(RenderApp).world();
    let mut opening = LearnerOpening::new(world, None, model, trained, training)?;
    for _ in 0..STARTING_FRAMES {
        app.update();
        match opening.poll(app.sub_app(RenderApp).world().resource())? {
            Ok(learner) => return Ok(learner),
            Err(still) => opening = *still,
        }
    }
    Err(failed("the kernels of training are not compiled after many frames"))
}

struct LearnerBuffers {
    activations: Quads,
    trained: Quads,
    params: Buffer,
    vectors: Buffer,
    angles: Buffer,
    words: Buffer,
    results: Buffer,
    wanted: Buffer,
}

impl LearnerBuffers {
    /// In the order of the bindings' names.
    fn resources<'a>(&'a self, pages: &'a Pages) -> Vec<BindingResource<'a>> {
        vec![
            BindingResource::TextureView(&pages.view),
            pages.tile_place.as_entire_binding(),
            self.activations.binding(),
            BindingResource::Buffer(BufferBinding {
                buffer: &self.params,
                offset: 0,
                size: std::num::NonZeroU64::new(SLOT as u64),
            }),
            self.vectors.as_entire_binding(),
            self.angles.as_entire_binding(),
            self.words.as_entire_binding(),
            self.trained.binding(),
            self.results.as_entire_binding(),
            self.wanted.as_entire_binding(),
        ]
    }
}

fn results_words(program: &Program) -> u64 {
    let (first, count) = program.stream_results;
    u64::from(first) + u64::from(count)
}

fn data(device: &RenderDevice, label: &'static str, bytes: &[u8], usage: BufferUsages) -> Buffer {
    let usage = usage | BufferUsages::COPY_DST;
    device.create_buffer_with_data(&BufferInitDescriptor {
        label: Some(label),
        contents: bytes,
        usage,
    })
}

fn numbers(device: &RenderDevice, label: &'static str, numbers: &[f32]) -> Buffer {
    data(device, label, bytemuck::cast_slice(numbers), BufferUsages::STORAGE)
}

fn empty(device: &RenderDevice, label: &'static str, size: u64) -> Buffer {
    device.create_buffer(&BufferDescriptor {
        label: Some(label),
        size,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// The most quads that the device holds in one piece, whole rows.
fn most_quads(device: &RenderDevice, textures: bool) -> u64 {
    let limits = device.limits();
    let rows = if textures {
        u64::from(limits.max_texture_dimension_2d)
    } else {
        let bytes = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
        bytes / (u64::from(ROW) * 16)
    };
    rows * u64::from(ROW)
}

/// Rows of quads, where the device has room for so many.
fn store(
    device: &RenderDevice,
    label: &'static str,
    quads: u64,
    textures: bool,
) -> Result<Quads, TrainError> {
    let rows = quads.div_ceil(u64::from(ROW));
    let most = most_quads(device, textures) / u64::from(ROW);
    if rows > most {
        let size = |rows: u64| crate::size::MemorySize(rows * u64::from(ROW) * 16);
        return Err(failed(format!(
            "{label} would take {}; the device holds {} in one piece: lower --batch-tokens or \
             --rank, or use --device cpu",
            size(rows),
            size(most)
        )));
    }
    Ok(Quads::new(device, label, ROW, rows as u32, textures))
}

/// Cosines and sines of every position.
fn angles(
    device: &RenderDevice,
    config: &ModelConfig,
    bound: &BoundModel,
    positions: u32,
) -> Buffer {
    let columns: Vec<Column> = (0..positions)
        .map(|position| Column { token: 0, slot: 0, position, wants_logits: false })
        .collect();
    let mut angles = Vec::new();
    let rotation = Rotation::new(&rope_params(config), bound.rope_factors.as_deref());
    rotation.angles(&columns, &mut angles);
    data(device, "angles", bytemuck::cast_slice(&angles), BufferUsages::STORAGE)
}

/// Refuses what the kernels cannot compute with.
fn check_shapes(bound: &BoundModel, config: &ModelConfig) -> Result<(), TrainError> {
    let multiple_of = |multiple: u32, what: &str, found: u32| {
        if found.is_multiple_of(multiple) {
            return Ok(());
        }
        Err(TrainError::Model(format!(
            "{what} is {found}; the GPU kernels of training need a multiple of {multiple}: \
             use --device cpu"
        )))
    };
    multiple_of(8, "the head size", config.head_size)?;
    multiple_of(8, "what RoPE turns of a head", config.rope_size)?;
    let matrices = bound.layers.iter().flat_map(BoundLayer::matrices);
    for matrix in matrices.chain([&bound.embedding, &bound.output]) {
        multiple_of(32, "a matrix's inputs", matrix.params.columns)?;
    }
    Ok(())
}

impl Learner {
    /// Writes the columns of the next pass; gradients begin anew with it, or are added to.
    pub fn write_pass(&self, pass: &SequencePass, begins: bool) {
        let words = pass.words(begins);
        self.queue.write_buffer(&self.words, 0, bytemuck::cast_slice(&words));
        self.queue.write_buffer(&self.wanted, 0, bytemuck::cast_slice(&pass.wanted));
        if begins {
            // All passes of a step add to them.
            let (first, count) = self.program.stream_results;
            let mut encoder = self.device.create_command_encoder(&Default::default());
            encoder.clear_buffer(&self.results, u64::from(first) * 4, Some(u64::from(count) * 4));
            self.queue.submit([encoder.finish()]);
        }
    }

    /// Writes the parameters of one dispatch.
    pub fn write_params(&self, op: &Op, params: &impl bytemuck::Pod) {
        self.queue.write_buffer(&self.params, u64::from(op.offset), bytemuck::bytes_of(params));
    }

    /// Submits some dispatches for so many columns, of which some are wanted.
    pub fn play<'a>(
        &self,
        label: &'static str,
        ops: impl IntoIterator<Item = &'a Op>,
        columns: u32,
        wanted: u32,
    ) -> wgpu::SubmissionIndex {
        let mut encoder =
            self.device.create_command_encoder(&CommandEncoderDescriptor { label: Some(label) });
        {
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor {
                label: Some(label),
                timestamp_writes: None,
            });
            for op in ops {
                let rows = op.rows.count(columns, wanted);
                if rows == 0 || op.across == 0 {
                    continue;
                }
                pass.set_pipeline(&self.pipelines[op.kernel.index()]);
                pass.set_bind_group(0, &self.group, &[op.offset]);
                pass.dispatch_workgroups(op.across, rows, 1);
            }
        }
        self.queue.submit([encoder.finish()])
    }

    /// Waits for results, so many from `first` on.
    pub fn results(&self, first: u32, count: u32) -> Result<Vec<f32>, TrainError> {
        let results = self.read(&self.read_results(first + count))?;
        Ok(results[first as usize..].to_vec())
    }

    /// Submits the reading of the first results.
    pub fn read_results(&self, count: u32) -> PendingReadback {
        let parts = [(&self.results, u64::from(count) * 4)];
        PendingReadback::submit(&self.device, &self.queue, &parts)
    }

    /// Waits for what is read.
    pub fn read(&self, readback: &PendingReadback) -> Result<Vec<f32>, TrainError> {
        let bytes = readback.poll(&self.device, None).map_err(failed)?;
        let bytes = bytes.ok_or_else(|| failed("the device does not answer"))?;
        Ok(bytemuck::pod_collect_to_vec(&bytes[0]))
    }

    /// Waits until a submission is computed.
    pub fn wait_for(&self, submission: wgpu::SubmissionIndex) -> Result<(), TrainError> {
        let poll = PollType::Wait { submission_index: Some(submission), timeout: None };
        self.device.poll(poll).map_err(failed)?;
        Ok(())
    }

    /// Writes a copy of what is trained: 0 values, 1 gradients, 2 and 3 moments.
    pub fn write_copy(&self, copy: u32, numbers: &[f32]) {
        let usage = BufferUsages::COPY_SRC;
        let from = data(&self.device, "trained", bytemuck::cast_slice(numbers), usage);
        let rows = self.adapter.quads / ROW;
        let mut encoder = self.device.create_command_encoder(&CommandEncoderDescriptor::default());
        self.trained.copy_from(&mut encoder, copy * rows, rows, &from);
        self.queue.submit([encoder.finish()]);
    }

    /// Waits for one copy of what is trained: 0 values, 1 gradients, 2 and 3 moments.
    pub fn copy(&self, copy: u32) -> Result<Vec<f32>, TrainError> {
        let rows = self.adapter.quads / ROW;
        let to = empty(&self.device, "copy", u64::from(self.adapter.quads) * 16);
        let mut encoder = self.device.create_command_encoder(&CommandEncoderDescriptor::default());
        self.trained.copy_to(&mut encoder, copy * rows, rows, &to);
        self.queue.submit([encoder.finish()]);
        let parts = [(&to, to.size())];
        self.read(&PendingReadback::submit(&self.device, &self.queue, &parts))
    }

    /// Waits for all copies of what is trained.
    pub fn copies(&self) -> Result<Vec<Vec<f32>>, TrainError> {
        let numbers = self.trained.read(&self.device, &self.queue).map_err(failed)?;
        let each = self.adapter.quads as usize * 4;
        if each == 0 {
            return Ok(vec![Vec::new(); COPIES as usize]);
        }
        Ok(numbers.chunks_exact(each).map(<[f32]>::to_vec).collect())
    }

    /// Waits for all numbers that kernels write.
    pub fn numbers(&self) -> Result<LearnerNumbers, TrainError> {
        let (first, count) = self.program.stream_results;
        Ok(LearnerNumbers {
            activations: self.activations.read(&self.device, &self.queue).map_err(failed)?,
            trained: self.trained.read(&self.device, &self.queue).map_err(failed)?,
            results: self.results(0, first + count)?,
        })
    }

    /// Waits until everything that was submitted is computed.
    pub fn wait(&self) -> Result<(), TrainError> {
        self.device.poll(PollType::wait_indefinitely()).map_err(failed)?;
        Ok(())
    }

    /// Bytes of activations, and of what is trained.
    pub fn sizes(&self) -> [u64; 2] {
        [self.activations.size(), self.trained.size()]
    }
}
