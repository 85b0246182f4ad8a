//! The engine that the arguments ask for, shared by all commands that run a model.

use clap::ValueEnum;

use crate::model::{ModelConfig, PixelModel};
use crate::passes::reference::{Controls, CpuModel, CpuOptions};
use crate::residency::MemorySize;
use crate::tokens::{CpuEngine, Engine};

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// A GPU where there is one; else the processor or a software adapter, whichever a short trial finds faster.
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
    /// GPU memory that the model's weights may take, such as 32M or 4GiB: a larger model is streamed through it, layer by layer. [default: what the adapter gives, less 256 MiB; of a software adapter half of what the host has free]
    #[arg(long, value_name = "SIZE", help_heading = "Running")]
    pub gpu_memory: Option<MemorySize>,
}

/// Opens a model for `slots` sequences of up to `context` positions; `None` is what the model was made for, on a
/// GPU at most 2048.
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
    check_context(model.config(), context)?;
    let most = model.config().context_length;
    let model = std::sync::Arc::new(model);
    #[cfg(feature = "world")]
    {
        let context = context.unwrap_or(most.min(GPU_CONTEXT));
        if let Some(engine) = on_gpu::open(device, &model, slots, context, memory)? {
            return Ok(engine);
        }
    }
    #[cfg(not(feature = "world"))]
    let _ = memory;
    #[cfg(not(feature = "world"))]
    anyhow::ensure!(
        device != Device::Gpu,
        "--device gpu: this program was built without a GPU path; use cpu or auto"
    );
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
    use crate::app::cli::output::print_note;
    use crate::app::gpu_engine::{GpuEngine, Plan, trial};
    use crate::app::headless::{AdapterFacts, GpuChoice};
    use crate::model::{Cache, PixelModel};
    use crate::residency::compute::weights_in_bytes;
    use crate::tokens::Engine;

    /// The engine on the GPU, or `None` where the processor is to compute.
    pub fn open(
        device: Device,
        model: &Arc<PixelModel>,
        slots: usize,
        context: u32,
        memory: GpuMemory,
    ) -> anyhow::Result<Option<Box<dyn Engine>>> {
        if device == Device::Cpu {
            return Ok(None);
        }
        let mut choice = GpuChoice::default();
        let adapter = match AdapterFacts::find(&choice) {
            Ok(adapter) => adapter,
            // Without an adapter the processor computes, as it was asked to where it is the faster one.
            Err(_) if device == Device::Auto => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        choice.memory = memory.gpu_memory.map(|size| size.0).or_else(|| adapter.memory_for_weights());
        let cache = Cache::default();
        let known = trial::recall(cache.folder(), &adapter, model);
        let streamed = choice.memory.is_some_and(|cap| weights_in_bytes(model) > cap);
        let verdict = match known.filter(|verdict| streamed || verdict.holds(device == Device::Auto)) {
            Some(verdict) => verdict,
            // A trial reads the whole model many times, and the processor can use the file's pages as they are.
            None if streamed && device == Device::Auto && adapter.is_software() => return Ok(None),
            None if streamed => {
                let plan = Plan::usual(&adapter);
                let engine =
                    GpuEngine::with_plan(Arc::clone(model), slots, context as usize, &choice, Some(plan))?;
                return Ok(Some(Box::new(engine)));
            }
            None => {
                let verdict = match trial::make(model, &choice) {
                    Ok(verdict) => verdict,
                    // What the GPU path cannot do, the processor can.
                    Err(error) if device == Device::Auto => {
                        print_note(&format!("computing on the processor: {error}"));
                        return Ok(None);
                    }
                    Err(error) => return Err(error.into()),
                };
                print_note(&format!("{}: {}, by a short trial", adapter.info.name, verdict.line()));
                if !verdict.holds(device == Device::Auto) {
                    print_note("other programs disturbed the trial: it is made again next time");
                }
                if let Err(error) = trial::keep(cache.folder(), &verdict) {
                    print_note(&format!(
                        "the trial could not be kept in {}: {error}",
                        cache.folder().display()
                    ));
                }
                verdict
            }
        };
        if device == Device::Auto && verdict.prefers_processor() {
            return Ok(None);
        }
        if adapter.is_software() {
            print_note(&format!("{} is a software adapter: the processor does its work", adapter.info.name));
        }
        let mut engine =
            GpuEngine::with_plan(Arc::clone(model), slots, context as usize, &choice, Some(verdict.plan()))?;
        trial::settle(&mut engine)?;
        Ok(Some(Box::new(engine)))
    }
}
