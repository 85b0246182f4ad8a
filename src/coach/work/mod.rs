//! The work itself: each action on the model that is loaded.
//!
//! In: a [`TaskAction`] and a [`ModelContext`]. Out: a [`TaskReport`] of what was measured, or why
//! there is none. Nothing here decides what a report is worth: checks and reviews do.

mod conversion;
mod device;
#[cfg(feature = "world")]
mod gpu;
mod heads;
mod inference;
mod layers;
pub(super) mod lineage;
mod pause_token;
mod plain;
pub mod process;
mod residency;
mod school;
mod storage;
mod teach;
mod twins;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{BenchSubject, TaskAction, TaskReport};
use crate::batch::{ModelText, TextError};
use crate::content::assets::Assets;
use crate::engine::{CpuEngine, EngineError};
use crate::forward::cpu::{CpuModel, CpuOptions, ForwardError};
use crate::model::{ModelError, PixelModel};

pub use device::{StreamingFigures, WorkDevice, WorkDevices};
#[cfg(feature = "world")]
pub use gpu::GpuDevices;
pub use heads::{HEAD_IMPORTANCE_FILE, SURVEY_TEXT, loss};
pub use lineage::{LINEAGE_PICTURE_FILE, SENSITIVITY_FILE, of_promotion};
pub use pause_token::PauseToken;
pub use storage::TILE_STATISTICS_FILE;

/// Hears what is being done.
pub(crate) type ProgressListener<'a> = dyn FnMut(String) + Send + 'a;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// This program cannot do that yet.
    #[error("this program has no {0} yet")]
    Missing(String),
    /// It was stopped by its pause token.
    #[error("stopped")]
    Cancelled,
    /// The model is not what it should be.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model cannot be computed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The engine stopped in the middle of it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The text side of the model cannot be used.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

impl WorkError {
    fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }
}

/// The result of work.
pub(crate) type WorkResult<T> = Result<T, WorkError>;

/// What work is done on and with.
pub struct ModelContext {
    model: Arc<PixelModel>,
    text: ModelText,
    folder: PathBuf,
    pause_token: Arc<PauseToken>,
    /// The threads that work may use; all of the program's where none are named.
    threads: Option<rayon::ThreadPool>,
    devices: Option<Box<dyn WorkDevices>>,
    /// Where corpora are found.
    assets: Option<Assets>,
}

impl ModelContext {
    /// What work on a model needs. Files of reports go to `folder`; work waits and stops as
    /// `pause_token` says.
    ///
    /// # Errors
    /// The model's tokenizer cannot be used.
    pub fn new(
        model: impl Into<Arc<PixelModel>>,
        folder: &Path,
        pause_token: Arc<PauseToken>,
    ) -> WorkResult<Self> {
        let model = model.into();
        let text = ModelText::new(&model)?;
        Ok(Self {
            model,
            text,
            folder: folder.to_owned(),
            pause_token,
            threads: None,
            devices: None,
            assets: None,
        })
    }

    /// With so many threads of its own, so that others keep the rest of the processor.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn with_threads(mut self, count: usize) -> WorkResult<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count.max(1));
        self.threads = Some(pool.build().map_err(WorkError::other)?);
        Ok(self)
    }

    /// With a way to a GPU, on which kernels are measured and compared too.
    #[must_use]
    pub fn with_devices(mut self, devices: Box<dyn WorkDevices>) -> Self {
        self.devices = Some(devices);
        self
    }

    /// With the corpora of the program, of mods and of the user.
    #[must_use]
    pub fn with_assets(mut self, assets: Assets) -> Self {
        self.assets = Some(assets);
        self
    }

    /// The model that work is done on.
    pub fn model(&self) -> &Arc<PixelModel> {
        &self.model
    }

    /// Where work waits and stops.
    pub fn pause_token(&self) -> &Arc<PauseToken> {
        &self.pause_token
    }

    /// Between two steps of work: waits while it is held.
    fn go_on(&self) -> WorkResult<()> {
        if self.pause_token.pass() { Ok(()) } else { Err(WorkError::Cancelled) }
    }

    /// The GPU, where there is a way to one and an adapter.
    fn open_device(&self, context: usize) -> WorkResult<Option<Box<dyn WorkDevice>>> {
        let Some(devices) = &self.devices else { return Ok(None) };
        Ok(devices.open(&self.model, context)?)
    }

    fn cpu_model(&self) -> WorkResult<CpuModel> {
        Ok(CpuModel::new(Arc::clone(&self.model), CpuOptions::default())?)
    }

    fn engine(&self, slots: usize, context: usize) -> WorkResult<CpuEngine> {
        let most = self.model.config().context_length as usize;
        Ok(CpuEngine::new(self.cpu_model()?, slots, context.min(most)))
    }

    /// The same on another model, such as a child of this one. It has the threads of whoever works.
    ///
    /// # Errors
    /// The model's tokenizer cannot be used.
    fn on(&self, model: Arc<PixelModel>) -> WorkResult<Self> {
        let context = Self::new(model, &self.folder, Arc::clone(&self.pause_token))?;
        Ok(Self { assets: self.assets.clone(), ..context })
    }

    /// Does what an action says. `progress` hears what is being done.
    ///
    /// Reviews, commands and questions are not done here but by the task runner: they need more
    /// than the model.
    ///
    /// # Errors
    /// The work could not be done.
    pub fn perform(
        &self,
        action: &TaskAction,
        progress: &mut ProgressListener<'_>,
    ) -> WorkResult<TaskReport> {
        self.perform_as("a worker", action, progress)
    }

    /// The same by a worker whose name a lineage keeps.
    ///
    /// # Errors
    /// As [`ModelContext::perform`].
    pub(crate) fn perform_as(
        &self,
        worker: &str,
        action: &TaskAction,
        progress: &mut ProgressListener<'_>,
    ) -> WorkResult<TaskReport> {
        self.go_on()?;
        self.within(|| self.act(worker, action, progress))
    }

    /// Has the gate measure a candidate, as [`lineage::promote`] says.
    pub(super) fn promote_as(
        &self,
        who: (&str, &str),
        may_promote: &(dyn Fn(&str) -> bool + Sync),
        progress: &mut ProgressListener<'_>,
    ) -> WorkResult<lineage::Promotion> {
        self.go_on()?;
        self.within(|| lineage::promote(self, who, may_promote, progress))
    }

    /// Does something with the threads that work may use.
    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.threads {
            Some(threads) => threads.install(work),
            None => work(),
        }
    }

    fn act(
        &self,
        worker: &str,
        action: &TaskAction,
        progress: &mut ProgressListener<'_>,
    ) -> WorkResult<TaskReport> {
        match action {
            TaskAction::VerifyTiles => storage::verify_tiles(self),
            TaskAction::SurveyStatistics => storage::survey_statistics(self),
            TaskAction::CompressionRatios => storage::compression_ratios(self, progress),
            TaskAction::WarmUp { layer } => storage::warm_up(self, *layer),
            TaskAction::Bench { subject: BenchSubject::Cache } => storage::bench_cache(self),
            TaskAction::Bench { subject: BenchSubject::Index } => storage::bench_index(self),
            TaskAction::TuneResidency => residency::tune(self, progress),
            TaskAction::KernelTwins => twins::kernel_twins(self, progress),
            TaskAction::Bench { subject: BenchSubject::Kernels } => {
                inference::bench_kernels(self, progress)
            }
            TaskAction::Bench { subject: BenchSubject::Answers } => inference::bench_answers(self),
            TaskAction::CheckCoordinator => inference::check_coordinator(self),
            TaskAction::RoundTrip => conversion::round_trip(self, progress),
            TaskAction::ValidateLoader => conversion::validate_loader(self, progress),
            TaskAction::CompareLogits => conversion::compare_logits(self, progress),
            TaskAction::Ablate { layer, head } => heads::ablate(self, *layer, *head),
            TaskAction::SurveyHeads => heads::survey(self, progress),
            TaskAction::Probe { prompts, layer } => write::probe(self, prompts, *layer),
            TaskAction::Generate { prompt, max_tokens } => {
                write::generate(self, prompt, *max_tokens)
            }
            TaskAction::WriteTrainingData { prompts } => write::training_data(self, prompts),
            TaskAction::GenerateCorpus { corpus, lines, valid_lines, seed } => {
                teach::generate_corpus(self, corpus, (*lines, *valid_lines), *seed)
            }
            TaskAction::FineTune(how) => lineage::fine_tune(self, how, progress),
            TaskAction::Evaluate { corpus, adapter } => teach::evaluate(self, corpus, *adapter),
            TaskAction::SurveySensitivity { tokens, seed } => {
                lineage::survey_sensitivity(self, (*tokens, *seed), progress)
            }
            TaskAction::Refit { bits, tokens, seed, gate } => {
                lineage::refit(self, worker, (*bits, gate), (*tokens, *seed), progress)
            }
            TaskAction::MergeAdapter { corpus, gate } => {
                let gate = gate.as_ref().unwrap_or(corpus);
                lineage::merge_adapter(self, worker, (corpus, gate), progress)
            }
            TaskAction::SchoolRound { subject, rounds, seed, gate } => {
                school::round(self, worker, (subject, gate), (*rounds, *seed), progress)
            }
            TaskAction::SurveyLayers { tokens, seed } => {
                layers::survey(self, (*tokens, *seed), progress)
            }
            TaskAction::LineagePicture => lineage::picture(self),
            TaskAction::Needs { feature } => Err(WorkError::Missing(feature.clone())),
            TaskAction::Review { .. }
            | TaskAction::Command { .. }
            | TaskAction::Promote { .. }
            | TaskAction::AskPerson { .. } => {
                Err(WorkError::Other(format!("{} is not done on the model", action.name())))
            }
        }
    }
}
