//! The activations and the cache of keys and values on the device.

use bevy::render::{
    render_resource::{Buffer, BufferDescriptor, BufferUsages},
    renderer::RenderDevice,
};

use super::{GpuModelError, Quads};
use crate::forward::gpu::kernels::fused_layer::{WORDS, WORDS_PER_LAYER};
use crate::forward::params::Places;
use crate::model::ModelConfig;

/// Quads of a row of the activations, as the shader `activations` has them.
const ROW: u64 = 1024;
/// Positions of a row of keys or values, as the shader `cache` has them.
pub(super) const ROW_POSITIONS: u32 = 16;

/// Room to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Sequences in the cache.
    pub slots: u32,
    /// Positions of each sequence, prompt and answer together.
    pub context: u32,
    /// The most columns of one step.
    pub columns: u32,
    /// The most tokens sampled before they are read back.
    pub steps: u32,
}

/// The most recent tokens that penalties on the device look at; more are left to the CPU's sampler.
pub const MOST_RECENT: u32 = 256;
/// The most biases of a request that the device adds; more are left to the CPU's sampler.
pub const MOST_BIASES: u32 = 32;

impl Sizes {
    /// Rows of the cache that a sequence has: its positions, and what fills the last row of a
    /// texture.
    pub fn rows(&self) -> u32 {
        self.context.next_multiple_of(ROW_POSITIONS)
    }

    /// Quads of a row of a layer's keys or values, and rows.
    fn cache_shape(&self, config: &ModelConfig) -> (u32, u64) {
        let rows = u64::from(self.slots) * u64::from(self.rows() / ROW_POSITIONS);
        (ROW_POSITIONS * config.kv_size() / 4, rows)
    }

    /// Whether textures of `most` texels a side hold the activations and the cache.
    pub(super) fn fit_textures(&self, config: &ModelConfig, most: u32) -> bool {
        let (width, rows) = self.cache_shape(config);
        // The number of workgroups moves no place.
        let (_, quads) = self.places(config, 0);
        let sides = [rows, u64::from(width), quads.div_ceil(ROW), ROW];
        sides.into_iter().all(|side| side <= u64::from(most))
    }

    /// Words per row of recent tokens: the window, and what is sampled before it is read back.
    pub(crate) fn recent_stride(&self) -> u32 {
        MOST_RECENT + self.steps
    }

    /// Where the activations lie, and how many quads they are together.
    pub(super) fn places(&self, config: &ModelConfig, workgroups: u32) -> (Places, u64) {
        let mut next = 0u64;
        let mut place = |numbers: u32| {
            let first = next;
            next += (u64::from(self.columns) * u64::from(numbers)).div_ceil(4);
            // A buffer that cannot be bound is refused before anything reads this.
            u32::try_from(first).unwrap_or(u32::MAX)
        };
        let (width, query, kv) = (config.embedding_size, config.query_size(), config.kv_size());
        let places = Places {
            residual: place(width),
            scaled: place(width),
            projected: place(query + 2 * kv),
            query: place(query),
            attended: place(query),
            hidden: place(config.hidden_size),
            // One to a quad, since several workgroups write them side by side.
            squares: place(width.div_ceil(32) * 4),
            workgroups,
        };
        (places, next)
    }
}

/// What sampling the next token needs, per row of logits.
#[derive(Debug)]
pub struct SamplingBuffers {
    /// How many tokens were sampled, and which.
    pub sampled: Buffer,
    /// How to sample: [`crate::forward::sampling::SamplingWords`].
    pub words: Buffer,
    /// Tokens that penalties look at: [`Sizes::recent_stride`] words a row.
    pub recent: Buffer,
    /// Tokens and what is added to their logits.
    pub biases: Buffer,
    pub(super) listed: Buffer,
}

/// Every buffer that is not a weight or a parameter.
#[derive(Debug)]
pub struct Buffers {
    /// Token, position, first row of the sequence in the cache and the sequence, per column.
    pub columns: Buffer,
    /// The column of each row of logits.
    pub wanted: Buffer,
    /// All activations, in quads of four numbers.
    pub activations: Quads,
    /// Where each of them begins there.
    pub places: Places,
    /// Logits, rows padded to a multiple of 64.
    pub logits: Buffer,
    pub(super) best: Buffer,
    /// What sampling the next token needs.
    pub sampling: SamplingBuffers,
    /// A factor per layer and query head.
    pub head_scale: Buffer,
    /// Keys and values of each layer.
    pub cache: Vec<[Quads; 2]>,
    pub(super) passing: Buffer,
    /// How many barriers failed since the start, the step's count of columns,
    /// then how many workgroups have come to each barrier of the step.
    pub barriers: Buffer,
}

impl Buffers {
    pub(super) fn new(
        device: &RenderDevice,
        config: &ModelConfig,
        sizes: Sizes,
        workgroups: u32,
        textures: bool,
    ) -> Result<Self, GpuModelError> {
        let limits = device.limits();
        let most = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
        let buffer = |what: &'static str, words: u64| {
            // An empty buffer cannot be bound.
            let size = (words * 4).max(16);
            if size > most {
                return Err(GpuModelError::Buffer { what, size, most });
            }
            Ok(device.create_buffer(&BufferDescriptor {
                label: Some(what),
                size,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            }))
        };
        let columns = u64::from(sizes.columns);
        let kv = u64::from(config.kv_size());
        let vocab = u64::from(config.vocab_size).next_multiple_of(64);
        let (row, rows) = sizes.cache_shape(config);
        let layers = u64::from(config.layer_count);
        let (places, quads) = sizes.places(config, workgroups);
        let store = |what: &'static str, row: u32, rows: u64| {
            let size = u64::from(row) * 16 * rows;
            match u32::try_from(rows) {
                Ok(rows) if size <= most => Ok(Quads::new(device, what, row, rows, textures)),
                _ => Err(GpuModelError::Buffer { what, size, most }),
            }
        };
        let pair = |_| Ok([store("keys", row, rows)?, store("values", row, rows)?]);
        Ok(Self {
            columns: buffer("columns", columns * 4)?,
            wanted: buffer("wanted", columns)?,
            activations: store("activations", ROW as u32, quads.div_ceil(ROW))?,
            places,
            logits: buffer("logits", columns * vocab)?,
            // Per 64 tokens two words: the largest logit and its token.
            best: buffer("best", columns * vocab / 32)?,
            sampling: SamplingBuffers {
                sampled: buffer("sampled", columns * (u64::from(sizes.steps) + 1))?,
                words: buffer("sampling", columns * 16)?,
                recent: buffer("recent", columns * u64::from(sizes.recent_stride()))?,
                biases: buffer("biases", columns * u64::from(MOST_BIASES) * 2)?,
                listed: buffer("listed", columns * vocab / 64)?,
            },
            head_scale: buffer("head_scale", layers * u64::from(config.head_count))?,
            cache: (0..config.layer_count).map(pair).collect::<Result<_, GpuModelError>>()?,
            passing: buffer("passing", u64::from(sizes.rows()) * kv)?,
            barriers: buffer("barriers", u64::from(WORDS) + layers * u64::from(WORDS_PER_LAYER))?,
        })
    }
}
