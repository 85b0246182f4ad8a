//! Opens the engine that is asked for: on the processor, or on an adapter with the kernels that a
//! trial has found fastest there.
//!
//! In: a model and [`EngineOptions`]. Out: an [`Engine`]. What there is to say meanwhile goes to an
//! [`OpenProgress`]: nothing here knows a terminal.

use std::any::Any;
#[cfg(feature = "world")]
use std::path::PathBuf;
use std::sync::Arc;

use super::{CpuEngine, Engine, EngineError};
use crate::forward::AdapterSet;
use crate::forward::cpu::{ActivationBits, CacheType, CpuModel, CpuOptions, ForwardError};
use crate::model::{Adapter, PixelModel};

/// Positions of each sequence on an adapter where nobody says: its cache is memory that is taken at
/// once.
#[cfg(feature = "world")]
const GPU_CONTEXT: u32 = 2048;

/// What a model is computed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// A GPU where there is one, else the processor.
    #[default]
    Auto,
    /// A GPU, or a software adapter in its place, through Bevy's render graph.
    Gpu,
    /// The processor, with all its threads.
    Cpu,
}

/// What kind of engine, and what it has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EngineOptions {
    /// What computes; `Auto` where nobody says.
    pub device: Device,
    /// Whether `Auto` is a software adapter too where a trial finds it faster than the processor:
    /// for those who have the time of a trial.
    pub try_software: bool,
    /// Sequences that have a place in the cache at once.
    pub slots: usize,
    /// Positions of each sequence. `None` is what the model was made for, on an adapter at
    /// most 2048.
    pub context: Option<u32>,
    /// Bytes of an adapter's memory that the weights may take; a larger model is streamed. `None`
    /// is what the adapter gives.
    pub gpu_memory: Option<u64>,
    /// How keys and values are kept; an adapter keeps them in 32 bits.
    pub cache_type: CacheType,
    /// What activations are rounded to; an adapter does not round them.
    pub activation_bits: ActivationBits,
}

/// Adapters that an engine has at hand.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EngineAdapters {
    /// All of them; sets name them by their place here.
    pub adapters: Vec<Adapter>,
    /// Those that act where a batch does not say.
    pub usual: AdapterSet,
}

/// Why there is no engine. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OpenError {
    /// More positions than the model was made for.
    #[error("--context {context}: the model was made for at most {most}")]
    Context {
        /// What was asked for.
        context: u32,
        /// What the model was made for.
        most: u32,
    },
    /// A GPU is asked of a program that cannot use one.
    #[cfg(not(feature = "world"))]
    #[error("--device gpu: this program was built without a GPU path; use cpu or auto")]
    NoGpuPath,
    /// An adapter is asked to keep keys and values as it does not.
    #[error(
        "--cache-type: an adapter keeps keys and values in 32 bits; use --device cpu, or leave \
         it out"
    )]
    CacheType,
    /// Activations of fewer bits on an adapter.
    #[error(
        "--activation-bits: an adapter computes with activations of 32 bits; use --device cpu, or \
         leave it out"
    )]
    ActivationBits,
    /// The processor cannot run the model.
    #[error(transparent)]
    Cpu(#[from] ForwardError),
    /// There is no adapter.
    #[cfg(feature = "world")]
    #[error(transparent)]
    Adapter(#[from] super::gpu::headless::GpuError),
    /// The adapter cannot run the model.
    #[cfg(feature = "world")]
    #[error(transparent)]
    Gpu(#[from] super::gpu::GpuEngineError),
    /// No way to compute on the adapter could be found.
    #[cfg(feature = "world")]
    #[error(transparent)]
    Trial(#[from] super::gpu::trial::TrialError),
    /// What a trial found cannot be kept.
    #[cfg(feature = "world")]
    #[error("{} cannot be written: {source}", path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The engine gave out as it was made ready.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

#[cfg(feature = "world")]
pub(crate) use on_gpu::tune_streaming;

/// Who is told how the opening goes.
pub(crate) trait OpenProgress {
    /// Work begins that may take long. It ends when what is returned is dropped.
    fn begin(&self, what: &str) -> Box<dyn Any>;

    /// What a person may want to know of the choice.
    fn note(&self, text: &str);
}

/// Opens a model.
///
/// # Errors
/// The model was made for fewer positions, or the device cannot run it.
pub(crate) fn open_engine(
    model: PixelModel,
    mut options: EngineOptions,
    adapters: &EngineAdapters,
    progress: &dyn OpenProgress,
) -> Result<Box<dyn Engine>, OpenError> {
    check_context(&model, options.context)?;
    if options.cache_type != CacheType::F32 {
        if options.device == Device::Gpu {
            return Err(OpenError::CacheType);
        }
        options.device = Device::Cpu;
    }
    if options.activation_bits != ActivationBits::default() {
        if options.device == Device::Gpu {
            return Err(OpenError::ActivationBits);
        }
        options.device = Device::Cpu;
    }
    let most = model.config().context_length;
    let model = Arc::new(model);
    #[cfg(feature = "world")]
    if let Some(engine) = on_gpu::open(&model, options, adapters, progress)? {
        return Ok(engine);
    }
    #[cfg(not(feature = "world"))]
    if options.device == Device::Gpu {
        return Err(OpenError::NoGpuPath);
    }
    let _reading = progress.begin("reading the model");
    let activation_bits = options.activation_bits;
    let mut model = CpuModel::new(model, CpuOptions { activation_bits, ..CpuOptions::default() })?;
    for adapter in &adapters.adapters {
        model.add_adapter(adapter)?;
    }
    let context = options.context.unwrap_or(most) as usize;
    let engine = CpuEngine::of_type(model, options.slots, context, options.cache_type);
    Ok(Box::new(engine.with_adapters(adapters.usual.clone())))
}

/// Whether a model has room for so many positions.
///
/// # Errors
/// It was made for fewer.
pub(crate) fn check_context(model: &PixelModel, context: Option<u32>) -> Result<(), OpenError> {
    let most = model.config().context_length;
    match context {
        Some(context) if context > most => Err(OpenError::Context { context, most }),
        _ => Ok(()),
    }
}

#[cfg(feature = "world")]
mod on_gpu {
    use std::sync::Arc;

    use super::{Device, EngineAdapters, EngineOptions, GPU_CONTEXT, OpenError, OpenProgress};
    use crate::engine::Engine;
    use crate::engine::gpu::headless::{AdapterFacts, GpuChoice, may_have_gpu};
    use crate::engine::gpu::streaming_trial::StreamingVerdict;
    use crate::engine::gpu::{GpuEngine, KernelConfig, streaming_trial, trial};
    use crate::model::{Cache, PixelModel};
    use crate::residency::compute::weights_in_bytes;

    /// The engine on an adapter with the adapters of a model, or `None` where the processor is to
    /// compute.
    pub fn open(
        model: &Arc<PixelModel>,
        options: EngineOptions,
        adapters: &EngineAdapters,
        progress: &dyn OpenProgress,
    ) -> Result<Option<Box<dyn Engine>>, OpenError> {
        let Some(mut engine) = open_alone(model, options, progress)? else { return Ok(None) };
        if !adapters.adapters.is_empty() {
            let all: Vec<_> = adapters.adapters.iter().cloned().map(Arc::new).collect();
            engine.set_adapters(model, &all, adapters.usual.clone())?;
        }
        Ok(Some(Box::new(engine)))
    }

    /// The engine with the model alone.
    fn open_alone(
        model: &Arc<PixelModel>,
        options: EngineOptions,
        progress: &dyn OpenProgress,
    ) -> Result<Option<GpuEngine>, OpenError> {
        let EngineOptions { device, try_software, slots, context, gpu_memory, .. } = options;
        let context = context.unwrap_or(model.config().context_length.min(GPU_CONTEXT)) as usize;
        let auto = device == Device::Auto;
        if device == Device::Cpu || (auto && !try_software && !may_have_gpu()) {
            return Ok(None);
        }
        let mut choice = GpuChoice::default();
        let opening = progress.begin("opening the graphics adapter");
        let adapter = match choice.find() {
            Ok(adapter) => adapter,
            // Without an adapter the processor computes, as it was asked to where it is the faster
            // one.
            Err(_) if auto => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        drop(opening);
        let (name, software) = (&adapter.info.name, adapter.is_software());
        // Whoever asks for no device in particular wants an answer, and so far the processor has
        // been faster each time.
        if auto && software && !try_software {
            return Ok(None);
        }
        choice.memory = gpu_memory.or_else(|| adapter.memory_for_weights());
        let compiling = || progress.begin(&format!("compiling the kernels for {name}"));
        let time_processor = auto && software;
        let cache = Cache::default();
        // Without the processor's time a verdict cannot say which of the two is faster.
        let known = trial::recall(cache.folder(), &adapter, model)
            .filter(|known| !time_processor || known.cpu_milliseconds.is_some());
        let streamed = choice.memory.filter(|&cap| weights_in_bytes(model) > cap);
        if let Some(known) =
            streamed.and_then(|cap| streaming_trial::recall(cache.folder(), &adapter, model, cap))
        {
            progress.note(&format!("{}, by a trial", known.line()));
            choice.tuning = known.tuning;
        }
        let streamed = streamed.is_some();
        let open =
            |plan| GpuEngine::with_plan(Arc::clone(model), slots, context, &choice, Some(plan));
        // Of a streamed model even a disturbed verdict is taken: a trial reads it many times.
        let (verdict, tried) = match known.filter(|verdict| streamed || verdict.holds()) {
            Some(verdict) => (verdict, None),
            // A trial reads the whole model many times, and the processor can use the file's pages
            // as they are.
            None if streamed && time_processor => return Ok(None),
            None if streamed => {
                let _compiling = compiling();
                return Ok(Some(open(KernelConfig::usual(&adapter))?));
            }
            None => {
                let sizes = (slots, context);
                match try_out(model, sizes, &choice, (&adapter, time_processor), &cache, progress) {
                    Ok(made) => made,
                    // What the GPU path cannot do, the processor can.
                    Err(error) if auto => {
                        progress.note(&format!("computing on the processor: {error}"));
                        return Ok(None);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        if auto && verdict.prefers_processor() {
            return Ok(None);
        }
        if software {
            progress.note(&format!("{name} is a software adapter: the processor does its work"));
        }
        // What was tried has its threads where they belong already.
        if let Some(engine) = tried {
            return Ok(Some(engine));
        }
        let _compiling = compiling();
        let mut engine = open(verdict.plan())?;
        trial::settle(&mut engine)?;
        Ok(Some(engine))
    }

    /// Makes a trial of how a model is streamed through `memory`, or through what the adapter
    /// gives, and keeps what it finds; `None` where all of the model fits.
    ///
    /// # Errors
    /// There is no adapter, it cannot run the model, or `begins` said to stop.
    pub fn tune_streaming(
        model: &Arc<PixelModel>,
        memory: Option<u64>,
        begins: &dyn Fn(&str) -> bool,
    ) -> Result<Option<(String, StreamingVerdict)>, OpenError> {
        let mut choice = GpuChoice::default();
        let adapter = choice.find()?;
        choice.memory = memory.or_else(|| adapter.memory_for_weights());
        let verdict = streaming_trial::make(model, &choice, begins)?;
        let Some(verdict) = verdict else { return Ok(None) };
        let folder = Cache::default();
        streaming_trial::keep(folder.folder(), &verdict).map_err(|source| OpenError::Keep {
            path: folder.folder().join(streaming_trial::FILE),
            source,
        })?;
        Ok(Some((adapter.info.name.clone(), verdict)))
    }

    /// Makes a trial and keeps what it finds.
    fn try_out(
        model: &Arc<PixelModel>,
        sizes: (usize, usize),
        choice: &GpuChoice,
        (adapter, time_processor): (&AdapterFacts, bool),
        cache: &Cache,
        progress: &dyn OpenProgress,
    ) -> Result<(trial::TrialResult, Option<GpuEngine>), trial::TrialError> {
        let name = &adapter.info.name;
        let trying =
            progress.begin(&format!("trying what is fastest on {name}, once for this model"));
        let made = trial::make(model, sizes, choice, time_processor);
        drop(trying);
        let (verdict, engine) = made?;
        progress.note(&format!("{name}: {}, by a short trial", verdict.line()));
        if !verdict.holds() {
            progress.note("other programs disturbed the trial: it is made again next time");
        }
        // It costs another trial next time, and no answer now.
        if let Err(error) = trial::keep(cache.folder(), &verdict) {
            progress.note(&format!(
                "the trial could not be kept in {}: {error}",
                cache.folder().display()
            ));
        }
        Ok((verdict, engine))
    }
}
