//! What each head, or each layer, is worth: how far the model's words are from its own without it.

use serde::Serialize;

use super::{PruneError, PruneProblem};
use crate::forward::Interventions;
use crate::forward::cpu::CpuModel;
use crate::model::ModelConfig;
use crate::refit::{Divergence, ParentFigures, RefitProgress, RefitText};

/// What is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PruneGoal {
    /// So many heads are muted.
    Heads(usize),
    /// So many layers are left out.
    Layers(usize),
}

/// A head or a layer, and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PrunePart {
    /// The layer, from 0.
    pub layer: u32,
    /// The head, from 0; none where the whole layer is meant.
    pub head: Option<u32>,
    /// Divergence of the model without it alone from the whole one, on the survey's text.
    pub divergence: f64,
    /// Its standard error.
    pub standard_error: f64,
}

impl PruneGoal {
    /// How many parts are to go, of how many there are.
    fn counts(self, config: &ModelConfig) -> (usize, usize, &'static str) {
        let layers = config.layer_count as usize;
        match self {
            Self::Heads(wanted) => (wanted, layers * config.head_count as usize, "heads"),
            Self::Layers(wanted) => (wanted, layers, "layers"),
        }
    }

    /// Whether a model has so many, and more.
    ///
    /// # Errors
    /// It does not.
    pub fn check(self, config: &ModelConfig) -> Result<usize, PruneProblem> {
        let (wanted, count, what) = self.counts(config);
        if wanted == 0 || wanted >= count {
            return Err(PruneProblem::Count { wanted, what, count });
        }
        Ok(wanted)
    }

    /// The parts that might go.
    fn parts(self, config: &ModelConfig) -> Vec<(u32, Option<u32>)> {
        let layers = 0..config.layer_count;
        match self {
            Self::Layers(_) => layers.map(|layer| (layer, None)).collect(),
            Self::Heads(_) => layers
                .flat_map(|layer| (0..config.head_count).map(move |head| (layer, Some(head))))
                .collect(),
        }
    }
}

/// The factors without some parts.
pub(super) fn without(config: &ModelConfig, parts: &[(u32, Option<u32>)]) -> Interventions {
    let shape = [config.layer_count, config.head_count];
    let heads = parts.iter().filter_map(|&(layer, head)| Some(([layer, head?], 0.0)));
    let layers = parts.iter().filter(|(_, head)| head.is_none()).map(|&(layer, _)| (layer, 0.0));
    Interventions::new(shape, heads, layers)
}

/// Measures each part alone; the least needed comes first.
///
/// # Errors
/// The model cannot compute.
pub fn survey(
    model: &CpuModel,
    text: &RefitText,
    goal: PruneGoal,
    progress: &dyn RefitProgress,
) -> Result<Vec<PrunePart>, PruneError> {
    progress.begins("what the model expects", text.tokens());
    let parent = ParentFigures::of(model, text, &|tokens| progress.done(tokens))?;
    let all = goal.parts(model.config());
    let what = match goal {
        PruneGoal::Heads(_) => "what each head is worth",
        PruneGoal::Layers(_) => "what each layer is worth",
    };
    progress.begins(what, all.len());
    let mut parts = Vec::with_capacity(all.len());
    for (layer, head) in all {
        let muted = without(model.config(), &[(layer, head)]);
        let found: Divergence = parent.compare_muted(model, text, &muted)?;
        let (divergence, standard_error) = (found.mean, found.standard_error);
        parts.push(PrunePart { layer, head, divergence, standard_error });
        progress.done(1);
    }
    // Of equals the earlier part.
    parts.sort_by(|a, b| a.divergence.total_cmp(&b.divergence));
    Ok(parts)
}
