//! The work itself: each action on the model that is loaded.
//!
//! In: an [`Action`] and a [`Workshop`]. Out: a [`Report`] of what was measured, or why there is none. Nothing here
//! decides what a report is worth: checks and reviews do.

mod conversion;
mod heads;
mod inference;
mod plain;
pub mod process;
mod storage;
mod twins;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{Action, Report, Subject};
use crate::model::{ModelError, PixelModel};
use crate::passes::reference::{CpuModel, CpuOptions, ForwardError};
use crate::tokens::{CpuEngine, EngineError, ModelText, TextError};

pub use heads::{SURVEY_TEXT, loss};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// This program cannot do that yet.
    #[error("this program has no {0} yet")]
    Missing(String),
    /// It was stopped.
    #[error("stopped")]
    Cancelled,
    /// The model is not what it should be.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model cannot be computed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The engine stopped.
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
pub type Result<T, E = WorkError> = std::result::Result<T, E>;

/// What work is done on and with.
#[derive(Debug)]
pub struct Workshop<'a> {
    model: Arc<PixelModel>,
    text: ModelText,
    folder: PathBuf,
    cancel: &'a AtomicBool,
}

impl<'a> Workshop<'a> {
    /// A workshop for a model. Files of reports go to `folder`; work stops soon after `cancel` is set.
    ///
    /// # Errors
    /// The model's tokenizer cannot be used.
    pub fn new(model: impl Into<Arc<PixelModel>>, folder: &Path, cancel: &'a AtomicBool) -> Result<Self> {
        let model = model.into();
        let text = ModelText::new(&model)?;
        Ok(Self { model, text, folder: folder.to_owned(), cancel })
    }

    /// The model.
    pub fn model(&self) -> &Arc<PixelModel> {
        &self.model
    }

    /// Whether work is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.is_cancelled() { Err(WorkError::Cancelled) } else { Ok(()) }
    }

    fn cpu_model(&self) -> Result<CpuModel> {
        Ok(CpuModel::new(Arc::clone(&self.model), CpuOptions::default())?)
    }

    fn engine(&self, slots: usize, context: usize) -> Result<CpuEngine> {
        let most = self.model.config().context_length as usize;
        Ok(CpuEngine::new(self.cpu_model()?, slots, context.min(most)))
    }

    /// Does what an action says. `progress` hears what is being done.
    ///
    /// Reviews, commands and questions are not done here but by whoever runs tasks: they need more than the model.
    ///
    /// # Errors
    /// The work could not be done.
    pub fn perform(&self, action: &Action, progress: &mut dyn FnMut(String)) -> Result<Report> {
        self.check_cancelled()?;
        match action {
            Action::VerifyTiles => storage::verify_tiles(self),
            Action::SurveyStatistics => storage::survey_statistics(self),
            Action::CompressionRatios => storage::compression_ratios(self, progress),
            Action::WarmUp { layer } => storage::warm_up(self, *layer),
            Action::Bench { subject: Subject::Cache } => storage::bench_cache(self),
            Action::Bench { subject: Subject::Index } => storage::bench_index(self),
            Action::TuneResidency => storage::tune_residency(self, progress),
            Action::KernelTwins => twins::kernel_twins(self, progress),
            Action::Bench { subject: Subject::Kernels } => inference::bench_kernels(self),
            Action::Bench { subject: Subject::Answers } => inference::bench_answers(self),
            Action::CheckCoordinator => inference::check_coordinator(self),
            Action::RoundTrip => conversion::round_trip(self, progress),
            Action::ValidateLoader => conversion::validate_loader(self, progress),
            Action::CompareLogits => conversion::compare_logits(self, progress),
            Action::Ablate { layer, head } => heads::ablate(self, *layer, *head),
            Action::SurveyHeads => heads::survey(self, progress),
            Action::Probe { prompts, layer } => write::probe(self, prompts, *layer),
            Action::Generate { prompt, max_tokens } => write::generate(self, prompt, *max_tokens),
            Action::WriteTrainingData { prompts } => write::training_data(self, prompts),
            Action::Needs { feature } => Err(WorkError::Missing(feature.clone())),
            Action::Review { .. } | Action::Command { .. } | Action::AskPerson { .. } => {
                Err(WorkError::Other(format!("{} is not done on the model", action.name())))
            }
        }
    }
}
