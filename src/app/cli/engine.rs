//! The engine that the arguments ask for, shared by all commands that run a model.

use clap::ValueEnum;

use super::output::doing;
use crate::engine::{CpuEngine, Engine};
use crate::forward::cpu::{Controls, CpuModel, CpuOptions};
use crate::model::{ModelConfig, PixelModel};
use crate::size::MemorySize;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// A GPU where there is one, else the processor; `bench` also tries a software adapter.
    #[default]
    Auto,
    /// A GPU, or a software adapter in its place, through Bevy's render graph.
    Gpu,
    /// The processor.
    Cpu,
}

/// Positions of each sequence on a GPU where nobody says: its cache is memory that is taken at once.
#[cfg(feature = "world")]
const GPU_CONTEXT: u32 = 2048;

/// How much of a GPU a model may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct GpuMemory {
    /// GPU memory that the model's weights may take, such as 32M or 4GiB (K, M, G and T are powers of 1024, KB, MB, GB and TB of 1000): a larger model is streamed through it, layer by layer. [default: what the adapter gives, less 256 MiB; of a software adapter half of what the host has free]
    #[arg(long, value_name = "SIZE", help_heading = "Running")]
    pub gpu_memory: Option<MemorySize>,
}

/// Opens a model for `slots` sequences of up to `context` positions; `None` is what the model was made for, on a
/// GPU at most 2048. `auto` is the processor at once where there is no GPU but a software adapter.
///
/// # Errors
/// The model was made for fewer positions, or the device cannot run it.
pub fn open_engine(
    device: Device,
    model: PixelModel,
    slots: usize,
    context: Option<u32>,
    memory: GpuMemory,
) -> anyhow::Result<Box<dyn Engine>> {
    open(device, false, model, slots, context, memory)
}

/// The same where time is no matter: `auto` is a software adapter too, if a trial finds it faster than the processor.
///
/// # Errors
/// As for [`open_engine`].
pub fn open_fastest_engine(
    device: Device,
    model: PixelModel,
    slots: usize,
    context: Option<u32>,
    memory: GpuMemory,
) -> anyhow::Result<Box<dyn Engine>> {
    open(device, true, model, slots, context, memory)
}

fn open(
    device: Device,
    try_software: bool,
    model: PixelModel,
    slots: usize,
    context: Option<u32>,
    memory: GpuMemory,
) -> anyhow::Result<Box<dyn Engine>> {
    check_context(model.config(), context)?;
    let most = model.config().context_length;
    let model = std::sync::Arc::new(model);
    #[cfg(feature = "world")]
    {
        let context = context.unwrap_or(most.min(GPU_CONTEXT)) as usize;
        if let Some(engine) = on_gpu::open(device, try_software, &model, (slots, context), memory)? {
            return Ok(engine);
        }
    }
    #[cfg(not(feature = "world"))]
    let _ = (memory, try_software);
    #[cfg(not(feature = "world"))]
    anyhow::ensure!(
        device != Device::Gpu,
        "--device gpu: this program was built without a GPU path; use cpu or auto"
    );
    let _reading = doing("reading the model");
    let model = CpuModel::new(model, CpuOptions::default())?;
    Ok(Box::new(CpuEngine::new(model, slots, context.unwrap_or(most) as usize)))
}

/// The same with some heads muted, by layer and head. Muted heads are computed on the processor.
///
/// # Errors
/// There is no such head, a GPU was asked for, or as [`open_engine`].
pub fn open_engine_without(
    muted: &[(u32, u32)],
    device: Device,
    model: PixelModel,
    slots: usize,
    context: Option<u32>,
    memory: GpuMemory,
) -> anyhow::Result<Box<dyn Engine>> {
    if muted.is_empty() {
        return open_engine(device, model, slots, context, memory);
    }
    anyhow::ensure!(device != Device::Gpu, "--mute is computed on the processor: use --device cpu or auto");
    check_context(model.config(), context)?;
    let controls = controls_without(muted, model.config())?;
    let mut engine = open_engine(Device::Cpu, model, slots, context, memory)?;
    anyhow::ensure!(engine.set_controls(&controls), "--mute: {} mutes no heads", engine.device());
    Ok(engine)
}

/// What mutes some heads, by layer and head.
///
/// # Errors
/// There is no such head.
pub fn controls_without(muted: &[(u32, u32)], config: &ModelConfig) -> anyhow::Result<Controls> {
    let mut controls = Controls::default();
    for &(layer, head) in muted {
        let (layers, heads) = (config.layer_count, config.head_count);
        anyhow::ensure!(
            layer < layers && head < heads,
            "--mute {layer}.{head}: the model has {layers} layers of {heads} heads, counted from 0"
        );
        controls.set_head_scale(config, layer, head, 0.0);
    }
    Ok(controls)
}

fn check_context(config: &ModelConfig, context: Option<u32>) -> anyhow::Result<()> {
    let most = config.context_length;
    match context {
        Some(context) if context > most => {
            anyhow::bail!("--context {context}: the model was made for at most {most}")
        }
        _ => Ok(()),
    }
}

#[cfg(feature = "world")]
mod on_gpu {
    use std::sync::Arc;

    use super::{Device, GpuMemory};
    use crate::app::cli::output::{doing, print_note};
    use crate::engine::Engine;
    use crate::engine::gpu::headless::{GpuChoice, may_have_gpu};
    use crate::engine::gpu::{GpuEngine, Plan, trial};
    use crate::model::{Cache, PixelModel};
    use crate::residency::compute::weights_in_bytes;

    /// The engine on the GPU, or `None` where the processor is to compute.
    pub fn open(
        device: Device,
        try_software: bool,
        model: &Arc<PixelModel>,
        (slots, context): (usize, usize),
        memory: GpuMemory,
    ) -> anyhow::Result<Option<Box<dyn Engine>>> {
        let auto = device == Device::Auto;
        if device == Device::Cpu || (auto && !try_software && !may_have_gpu()) {
            return Ok(None);
        }
        let mut choice = GpuChoice::default();
        let opening = doing("opening the graphics adapter");
        let adapter = match choice.find() {
            Ok(adapter) => adapter,
            // Without an adapter the processor computes, as it was asked to where it is the faster one.
            Err(_) if auto => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        drop(opening);
        let (name, software) = (&adapter.info.name, adapter.is_software());
        // Whoever asks for no device in particular wants an answer, and so far the processor has been faster each time.
        if auto && software && !try_software {
            return Ok(None);
        }
        choice.memory = memory.gpu_memory.map(|size| size.0).or_else(|| adapter.memory_for_weights());
        let compiling = || doing(format!("compiling the kernels for {name}"));
        let open = |plan| GpuEngine::with_plan(Arc::clone(model), slots, context, &choice, Some(plan));
        let time_processor = auto && software;
        let cache = Cache::default();
        let known = trial::recall(cache.folder(), &adapter, model)
            .filter(|known| !time_processor || known.cpu_milliseconds.is_some());
        let streamed = choice.memory.is_some_and(|cap| weights_in_bytes(model) > cap);
        let (verdict, tried) = match known.filter(|verdict| streamed || verdict.holds()) {
            Some(verdict) => (verdict, None),
            // A trial reads the whole model many times, and the processor can use the file's pages as they are.
            None if streamed && time_processor => return Ok(None),
            None if streamed => {
                let _compiling = compiling();
                return Ok(Some(Box::new(open(Plan::usual(&adapter))?)));
            }
            None => {
                let trying = doing(format!("trying what is fastest on {name}, once for this model"));
                let made = trial::make(model, (slots, context), &choice, time_processor);
                drop(trying);
                let (verdict, engine) = match made {
                    Ok(made) => made,
                    // What the GPU path cannot do, the processor can.
                    Err(error) if auto => {
                        print_note(&format!("computing on the processor: {error}"));
                        return Ok(None);
                    }
                    Err(error) => return Err(error.into()),
                };
                print_note(&format!("{name}: {}, by a short trial", verdict.line()));
                if !verdict.holds() {
                    print_note("other programs disturbed the trial: it is made again next time");
                }
                if let Err(error) = trial::keep(cache.folder(), &verdict) {
                    print_note(&format!(
                        "the trial could not be kept in {}: {error}",
                        cache.folder().display()
                    ));
                }
                (verdict, engine)
            }
        };
        if auto && verdict.prefers_processor() {
            return Ok(None);
        }
        if software {
            print_note(&format!("{name} is a software adapter: the processor does its work"));
        }
        // What was tried has its threads where they belong already.
        if let Some(engine) = tried {
            return Ok(Some(Box::new(engine)));
        }
        let _compiling = compiling();
        let mut engine = open(verdict.plan())?;
        trial::settle(&mut engine)?;
        Ok(Some(Box::new(engine)))
    }
}
