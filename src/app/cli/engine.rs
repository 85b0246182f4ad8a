//! The engine that the arguments ask for, shared by all commands that run a model.

use std::any::Any;

use clap::ValueEnum;
use clap::builder::PossibleValue;

pub use crate::engine::Device;

use super::output::{doing, print_note};
use crate::engine::Engine;
use crate::engine::open::{self, EngineAdapters, EngineOptions, OpenProgress, check_context};
use crate::forward::Interventions;
use crate::forward::cpu::{ActivationBits, CacheType};
use crate::model::{ModelConfig, PixelModel};
use crate::size::MemorySize;

impl ValueEnum for Device {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Gpu, Self::Cpu]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Auto => (
                "auto",
                "A GPU where there is one, else the processor; `bench` also tries a software \
                 adapter",
            ),
            Self::Gpu => {
                ("gpu", "A GPU, or a software adapter in its place, through Bevy's render graph")
            }
            Self::Cpu => ("cpu", "The processor"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

/// How much of a GPU a model may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct GpuMemory {
    /// GPU memory that the model's weights may take, such as 32M or 4GiB (K, M, G and T are powers
    /// of 1024, KB, MB, GB and TB of 1000): a larger model is streamed through it, layer by layer.
    /// [default: what the adapter gives, less 256 MiB; of a software adapter half of what the host
    /// has free]
    #[arg(long, value_name = "SIZE", help_heading = "Running")]
    pub gpu_memory: Option<MemorySize>,
}

impl ValueEnum for CacheType {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::F32, Self::F16, Self::Q8]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::F32 => ("f32", "As they were computed"),
            Self::F16 => (
                "f16",
                "Rounded to 16 bits: half the memory, faster where the context is long; on the \
                 processor alone",
            ),
            Self::Q8 => (
                "q8_0",
                "Rounded to 8 bits with a scale per 32 numbers: little more than a quarter of the \
                 memory; on the processor alone",
            ),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

impl ValueEnum for ActivationBits {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Twenty, Self::Sixteen, Self::Eight]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Twenty => ("20", "Within a thousandth of a nat of what the weights say"),
            Self::Sixteen => ("16", "Between the two; on the processor alone"),
            Self::Eight => {
                ("8", "Fastest, and as many as llama.cpp rounds to; on the processor alone")
            }
        };
        Some(PossibleValue::new(name).help(help))
    }
}

/// How exact the numbers are that a pass keeps and computes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct PrecisionArgs {
    /// How keys and values of a sequence are kept.
    #[arg(
        long,
        value_enum,
        default_value_t = CacheType::F32,
        hide_short_help = true,
        help_heading = "Running",
    )]
    pub cache_type: CacheType,
    /// Bits that activations are rounded to before they are multiplied with quantised weights.
    #[arg(
        long,
        value_enum,
        value_name = "BITS",
        default_value_t = ActivationBits::Twenty,
        hide_short_help = true,
        help_heading = "Running",
    )]
    pub activation_bits: ActivationBits,
}

/// What an engine may take, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    memory: GpuMemory,
    precision: PrecisionArgs,
    adapters: EngineAdapters,
}

impl From<GpuMemory> for Room {
    fn from(memory: GpuMemory) -> Self {
        Self { memory, ..Self::default() }
    }
}

impl From<(GpuMemory, PrecisionArgs)> for Room {
    fn from((memory, precision): (GpuMemory, PrecisionArgs)) -> Self {
        Self { memory, precision, ..Self::default() }
    }
}

impl From<(GpuMemory, PrecisionArgs, EngineAdapters)> for Room {
    fn from((memory, precision, adapters): (GpuMemory, PrecisionArgs, EngineAdapters)) -> Self {
        Self { memory, precision, adapters }
    }
}

/// Tells a person on the terminal.
struct OnTerminal;

impl OpenProgress for OnTerminal {
    fn begin(&self, what: &str) -> Box<dyn Any> {
        Box::new(doing(what))
    }

    fn note(&self, text: &str) {
        print_note(text);
    }
}

/// Opens a model for `slots` sequences of up to `context` positions; `None` is what the model was
/// made for, on a GPU at most 2048. `auto` is the processor at once where there is no GPU but a
/// software adapter.
///
/// # Errors
/// The model was made for fewer positions, or the device cannot run it.
pub(crate) fn open_engine(
    device: Device,
    model: PixelModel,
    slots: usize,
    context: Option<u32>,
    room: impl Into<Room>,
) -> anyhow::Result<Box<dyn Engine>> {
    open(device, false, model, slots, context, room)
}

/// The same where time is no matter: `auto` is a software adapter too, if a trial finds it faster
/// than the processor.
///
/// # Errors
/// As for [`open_engine`].
pub(crate) fn open_fastest_engine(
    device: Device,
    model: PixelModel,
    slots: usize,
    context: Option<u32>,
    room: impl Into<Room>,
) -> anyhow::Result<Box<dyn Engine>> {
    open(device, true, model, slots, context, room)
}

fn open(
    device: Device,
    try_software: bool,
    model: PixelModel,
    slots: usize,
    context: Option<u32>,
    room: impl Into<Room>,
) -> anyhow::Result<Box<dyn Engine>> {
    let Room { memory, precision, adapters } = room.into();
    let PrecisionArgs { cache_type, activation_bits } = precision;
    let gpu_memory = memory.gpu_memory.map(|size| size.0);
    let options = EngineOptions {
        device,
        try_software,
        slots,
        context,
        gpu_memory,
        cache_type,
        activation_bits,
    };
    Ok(open::open_engine(model, options, &adapters, &OnTerminal)?)
}

/// The same with some heads muted, by layer and head. Muted heads are computed on the processor.
///
/// # Errors
/// There is no such head, a GPU was asked for, or as [`open_engine`].
pub(crate) fn open_engine_without(
    muted: &[(u32, u32)],
    device: Device,
    model: PixelModel,
    slots: usize,
    context: Option<u32>,
    room: impl Into<Room>,
) -> anyhow::Result<Box<dyn Engine>> {
    if muted.is_empty() {
        return open_engine(device, model, slots, context, room);
    }
    anyhow::ensure!(
        device != Device::Gpu,
        "--mute is computed on the processor: use --device cpu or auto"
    );
    // What can be refused is refused before the engine is opened, which may take long.
    check_context(&model, context)?;
    let interventions = interventions_without(muted, model.config())?;
    let mut engine = open_engine(Device::Cpu, model, slots, context, room)?;
    anyhow::ensure!(
        engine.set_interventions(&interventions),
        "--mute: {} mutes no heads",
        engine.device()
    );
    Ok(engine)
}

/// What mutes some heads, by layer and head.
///
/// # Errors
/// There is no such head.
pub(crate) fn interventions_without(
    muted: &[(u32, u32)],
    config: &ModelConfig,
) -> anyhow::Result<Interventions> {
    let (layers, heads) = (config.layer_count, config.head_count);
    for &(layer, head) in muted {
        anyhow::ensure!(
            layer < layers && head < heads,
            "--mute {layer}.{head}: the model has {layers} layers of {heads} heads, counted from 0"
        );
    }
    let muted = muted.iter().map(|&(layer, head)| ([layer, head], 0.0));
    Ok(Interventions::new([layers, heads], muted, []))
}
