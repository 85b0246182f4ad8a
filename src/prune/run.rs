//! A whole pruning: survey, choose, write, measure what was written.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::survey::{PruneGoal, PrunePart, survey};
use super::{LEAST_TOKENS, PruneError, PruneProblem};
use crate::forward::cpu::{CpuModel, CpuOptions};
use crate::lineage::{Against, FigureKind, FigureName, MeasuredFigure};
use crate::model::convert::convert;
use crate::model::gguf::{Gguf, Value};
use crate::model::pruned::{check_heads, without_heads, without_layers};
use crate::model::{ModelError, PixelModel, hex};
use crate::refit::{Divergence, ParentFigures, RefitProgress, RefitText, WindowFigures};

/// What a pruning works with.
#[derive(Debug)]
pub struct PruneTask<'a> {
    /// The model.
    pub parent: &'a CpuModel,
    /// What is to go.
    pub goal: PruneGoal,
    /// What heads or layers are surveyed with.
    pub survey: &'a RefitText,
    /// What is measured with; no part of the other.
    pub check: &'a RefitText,
    /// A folder for the child, which is gone with it unless it is moved.
    pub folder: &'a Path,
    /// Pairs of metadata that the child gets.
    pub origin: &'a [(String, Value)],
}

/// What came of a pruning.
#[derive(Clone, Debug, Serialize)]
pub struct PruneReport {
    /// The model's root hash, in hexadecimal.
    pub model: String,
    /// What was to go.
    pub goal: PruneGoal,
    /// Each part alone, the least needed first.
    pub survey: Vec<PrunePart>,
    /// What is gone.
    pub gone: Vec<PrunePart>,
    /// The sum of what was measured of each alone, on the survey's text.
    pub foretold: f64,
    /// What came of all of them together, on the other text.
    pub measured: Divergence,
    /// The same beside the parent, window by window: `divergence` and `loss`.
    pub figures: Vec<MeasuredFigure>,
    /// The SHA-256 of the survey's text, in hexadecimal.
    pub survey_text: String,
    /// The SHA-256 of the other text, in hexadecimal.
    pub check_text: String,
    /// Bytes of all tensors before.
    pub bytes_before: u64,
    /// Bytes of all tensors now. Muted heads take as many as before.
    pub bytes_after: u64,
}

/// A child that was written, and what came of it.
#[derive(Debug)]
pub struct Pruned {
    /// Its GGUF file, in the folder of the task.
    pub gguf: std::path::PathBuf,
    /// What was measured of it.
    pub report: PruneReport,
}

/// Prunes a model: what is measured is the file that was written.
///
/// # Errors
/// There are not so many heads or layers, the texts are too short or share a window, or a child
/// cannot be written or computed.
pub fn run(task: &PruneTask<'_>, progress: &dyn RefitProgress) -> Result<Pruned, PruneError> {
    let model = task.parent.model();
    let wanted = task.goal.check(model.config())?;
    let found = task.survey.tokens();
    if found < LEAST_TOKENS {
        return Err(PruneProblem::ShortText { found }.into());
    }
    if task.survey.windows.iter().any(|window| task.check.windows.contains(window)) {
        return Err(PruneProblem::SharedText.into());
    }
    if let PruneGoal::Heads(_) = task.goal {
        check_heads(model)?;
    }
    let parts = survey(task.parent, task.survey, task.goal, progress)?;
    let gone = parts[..wanted].to_vec();
    let gguf = task.folder.join("child.gguf");
    write(model, (&gone, task.origin), &gguf)?;
    progress.begins("the check on another text", 2);
    let parent = ParentFigures::of(task.parent, task.check, &|_| ())?;
    progress.done(1);
    let child = open(&gguf, &task.folder.join("child.pxi"))?;
    let compared = parent.compare_windows(&child, task.check, &|_| ())?;
    progress.done(1);
    let bytes = |model: &PixelModel| {
        let size = |tensor: &crate::model::Tensor| {
            tensor.encoding().row_bytes(tensor.tiling.columns).unwrap_or(0) * tensor.tiling.rows
        };
        model.tensors().iter().map(size).sum()
    };
    let check_text = digest(task.check);
    let report = PruneReport {
        model: hex(&model.header().root),
        goal: task.goal,
        foretold: gone.iter().map(|part| part.divergence).sum(),
        measured: Divergence::of(task.check, &compared),
        figures: figures((&parent, task.check), &compared, &check_text),
        survey_text: digest(task.survey),
        check_text,
        bytes_before: bytes(model),
        bytes_after: bytes(child.model()),
        survey: parts,
        gone,
    };
    Ok(Pruned { gguf, report })
}

fn write(
    model: &PixelModel,
    (gone, origin): (&[PrunePart], &[(String, Value)]),
    path: &Path,
) -> Result<(), ModelError> {
    let heads: Vec<(u32, u32)> =
        gone.iter().filter_map(|part| Some((part.layer, part.head?))).collect();
    if heads.is_empty() {
        let layers = gone.iter().map(|part| part.layer).collect();
        return without_layers(model, &layers, origin, path, &|_| ());
    }
    without_heads(model, &heads, origin, path, &|_| ())
}

fn open(gguf: &Path, pixels: &Path) -> Result<CpuModel, PruneError> {
    convert(&Gguf::open(gguf).map_err(ModelError::from)?, pixels, &|_| ())?;
    // It was written just now; what computes with it needs no checksums.
    let options = CpuOptions { verify: false, ..CpuOptions::default() };
    Ok(CpuModel::new(Arc::new(PixelModel::open(pixels)?), options)?)
}

fn figures(
    (parent, text): (&ParentFigures, &RefitText),
    child: &[WindowFigures],
    digest: &str,
) -> Vec<MeasuredFigure> {
    let of = |figure: fn(&WindowFigures) -> f64| child.iter().map(figure).collect::<Vec<_>>();
    let figure = |kind, parent: &[f64], child: &[f64]| {
        MeasuredFigure::paired(FigureName::plain(kind), Against::Parent, digest, [parent, child])
    };
    let none = vec![0.0; child.len()];
    vec![
        figure(FigureKind::Divergence, &none, &of(|window| window.divergence)),
        figure(FigureKind::Loss, &parent.window_losses(text), &of(|window| window.loss)),
    ]
}

/// The SHA-256 of a text's tokens, in hexadecimal.
fn digest(text: &RefitText) -> String {
    let mut hash = Sha256::new();
    for window in &text.windows {
        hash.update((window.len() as u64).to_le_bytes());
        window.iter().for_each(|token| hash.update(token.to_le_bytes()));
    }
    hex(&hash.finalize())
}
