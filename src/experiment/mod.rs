//! `*.experiment.ron`: prompts times interventions. [`conditions`] makes the interventions concrete
//! for a model, and a [`ExperimentJob`] runs them.

use serde::{Deserialize, Serialize};

use crate::batch::request::MAX_TOP_LOGPROBS;
use crate::content::registry::{Review, check_id};
use crate::forward::Interventions;
use crate::model::ModelConfig;

mod cell;
mod job;

pub(crate) use cell::cell_id;
pub(crate) use job::SLOTS;
pub use job::{CellSink, ExperimentCell, ExperimentJob, JobError};

/// The most prompts of an experiment.
const MAX_PROMPTS: usize = 10_000;

/// The most interventions, written out.
const MAX_INTERVENTIONS: usize = 1_000;

/// The longest text of a prompt, in bytes.
const MAX_TEXT: usize = 1 << 18;

/// The most tokens of a repeated prompt, once.
const MAX_REPEATED: u32 = 1024;

/// The largest factor, as for the marks on entities.
const MAX_SCALE: f32 = 1_000.0;

/// Prompts times interventions, as a file says it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// What people call it.
    pub title: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What the model is given.
    pub prompts: Vec<Trial>,
    /// What is done to the model.
    pub interventions: Vec<Intervention>,
    /// Tokens of each answer.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: u32,
    /// How many of the most probable next tokens are compared.
    #[serde(default = "default_top")]
    pub top: u32,
}

fn default_max_tokens() -> u32 {
    16
}

fn default_top() -> u32 {
    10
}

/// A prompt and what is looked for in its answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Trial {
    /// A text as it is.
    Text {
        /// What result lines call it.
        id: String,
        /// The prompt, from 1 byte to 256 KiB.
        text: String,
        /// What may come after it; its log-probability is reported.
        #[serde(default)]
        target: Option<String>,
        /// What may come instead; the difference of the two is reported.
        #[serde(default)]
        foil: Option<String>,
    },
    /// Random tokens, written twice: whether the model copies the second half from the first.
    Repeated {
        /// What result lines call it.
        id: String,
        /// How many tokens one half has.
        tokens: u32,
        /// Which ones: the same seed gives the same tokens in the same vocabulary.
        seed: u64,
    },
}

impl Trial {
    /// What result lines call it.
    pub fn id(&self) -> &str {
        match self {
            Self::Text { id, .. } | Self::Repeated { id, .. } => id,
        }
    }
}

/// What is done to the model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Intervention {
    /// Every head in turn.
    EachHead {
        /// What each head's output is multiplied by, from -1000 to 1000; 0 mutes it.
        scale: f32,
    },
    /// Every layer in turn.
    EachLayer {
        /// What each layer's outputs are multiplied by, from -1000 to 1000; 0 mutes it.
        scale: f32,
    },
    /// Some heads together, as one condition.
    Heads {
        /// What result lines call it.
        id: String,
        /// The heads, one at least.
        heads: Vec<HeadPlace>,
        /// What their outputs are multiplied by, from -1000 to 1000; 0 mutes them.
        scale: f32,
    },
    /// Some layers together, as one condition.
    Layers {
        /// What result lines call it.
        id: String,
        /// The layers from 0, one at least.
        layers: Vec<u32>,
        /// What their outputs are multiplied by, from -1000 to 1000; 0 mutes them.
        scale: f32,
    },
}

/// A head of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "Head", deny_unknown_fields)]
pub struct HeadPlace {
    /// Its layer, from 0.
    pub layer: u32,
    /// Its place in the layer, from 0.
    pub head: u32,
}

/// The id of the runs without an intervention, with which the others are compared.
pub(crate) const BASELINE: &str = "baseline";

/// An intervention on one model: the factors, and what result lines say of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    /// What result lines call it: `baseline`, `L3H2`, `L3`, or the id that the experiment gives.
    pub id: String,
    /// The heads that are scaled.
    pub heads: Vec<HeadPlace>,
    /// The layers that are scaled.
    pub layers: Vec<u32>,
    /// What their outputs are multiplied by: 0 mutes.
    pub scale: f32,
}

impl Condition {
    /// The factors for the forward pass.
    pub fn interventions(&self, config: &ModelConfig) -> Interventions {
        Interventions::new(
            [config.layer_count, config.head_count],
            self.heads.iter().map(|head| ([head.layer, head.head], self.scale)),
            self.layers.iter().map(|&layer| (layer, self.scale)),
        )
    }
}

/// Why an experiment does not fit a model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The model has no such layer.
    #[error("{id}: layer {layer}; the model has layers 0 to {last}")]
    NoLayer {
        /// The id of the intervention that names it.
        id: String,
        /// The layer that is named, from 0.
        layer: u32,
        /// The model's last one.
        last: u32,
    },
    /// The model has no such head.
    #[error("{id}: head {head}; the model has heads 0 to {last} in every layer")]
    NoHead {
        /// The id of the intervention that names it.
        id: String,
        /// The head that is named, from 0.
        head: u32,
        /// The last one of a layer.
        last: u32,
    },
}

/// The conditions of an experiment on a model, the baseline first.
///
/// # Errors
/// A layer or head is named that the model does not have.
pub(crate) fn conditions(
    experiment: &Experiment,
    config: &ModelConfig,
) -> Result<Vec<Condition>, ExperimentError> {
    let none = |id: String| Condition { id, heads: Vec::new(), layers: Vec::new(), scale: 1.0 };
    let mut conditions = vec![none(BASELINE.into())];
    let all_layers = 0..config.layer_count;
    let check_layer = |id: &str, layer: u32| match layer < config.layer_count {
        true => Ok(()),
        false => Err(ExperimentError::NoLayer {
            id: id.into(),
            layer,
            last: config.layer_count.saturating_sub(1),
        }),
    };
    for intervention in &experiment.interventions {
        match intervention {
            Intervention::EachHead { scale } => {
                let each = all_layers.clone().flat_map(|layer| {
                    (0..config.head_count).map(move |head| HeadPlace { layer, head })
                });
                conditions.extend(each.map(|head| Condition {
                    heads: vec![head],
                    scale: *scale,
                    ..none(format!("L{}H{}", head.layer, head.head))
                }));
            }
            Intervention::EachLayer { scale } => {
                conditions.extend(all_layers.clone().map(|layer| Condition {
                    layers: vec![layer],
                    scale: *scale,
                    ..none(format!("L{layer}"))
                }))
            }
            Intervention::Heads { id, heads, scale } => {
                for head in heads {
                    check_layer(id, head.layer)?;
                    if head.head >= config.head_count {
                        let last = config.head_count.saturating_sub(1);
                        return Err(ExperimentError::NoHead {
                            id: id.clone(),
                            head: head.head,
                            last,
                        });
                    }
                }
                conditions.push(Condition {
                    heads: heads.clone(),
                    scale: *scale,
                    ..none(id.clone())
                });
            }
            Intervention::Layers { id, layers, scale } => {
                layers.iter().try_for_each(|&layer| check_layer(id, layer))?;
                conditions.push(Condition {
                    layers: layers.clone(),
                    scale: *scale,
                    ..none(id.clone())
                });
            }
        }
    }
    // Two interventions of one kind, such as each head at 0 and at 2, would share their ids.
    let mut seen = std::collections::BTreeSet::new();
    for condition in &mut conditions {
        while !seen.insert(condition.id.clone()) {
            condition.id = format!("{}@{}", condition.id, condition.scale);
        }
    }
    Ok(conditions)
}

impl Experiment {
    /// What a type cannot say.
    pub(super) fn review(&self, review: &mut Review<'_>) {
        review.require(!self.title.trim().is_empty(), "title", || {
            "expected a title, found an empty text".into()
        });
        let counts = [
            ("prompts", self.prompts.len(), MAX_PROMPTS),
            ("interventions", self.interventions.len(), MAX_INTERVENTIONS),
        ];
        for (field, count, most) in counts {
            review.require((1..=most).contains(&count), field, || {
                format!("expected 1 to {most} of them, found {count}")
            });
        }
        review.require(self.max_tokens <= 4096, "max_tokens", || {
            format!("expected at most 4096, found {}", self.max_tokens)
        });
        let range = 1..=MAX_TOP_LOGPROBS;
        review.require(range.contains(&self.top), "top", || {
            format!("expected 1 to {MAX_TOP_LOGPROBS}, found {}", self.top)
        });
        let mut ids = std::collections::BTreeSet::new();
        for (at, trial) in self.prompts.iter().enumerate() {
            let path = |field: &str| format!("prompts[{at}].{field}");
            review_id(review, &path("id"), trial.id(), &mut ids);
            match trial {
                Trial::Text { text, target, foil, .. } => {
                    review.require((1..=MAX_TEXT).contains(&text.len()), &path("text"), || {
                        format!("expected 1 to {MAX_TEXT} bytes, found {}", text.len())
                    });
                    review.require(foil.is_none() || target.is_some(), &path("foil"), || {
                        "a foil is compared with a target; the field `target` is missing".into()
                    });
                    for (field, text) in [("target", target), ("foil", foil)] {
                        review.require(text.as_deref() != Some(""), &path(field), || {
                            "expected a text, found an empty one".into()
                        });
                    }
                }
                Trial::Repeated { tokens, .. } => {
                    review.require((2..=MAX_REPEATED).contains(tokens), &path("tokens"), || {
                        format!("expected 2 to {MAX_REPEATED}, found {tokens}")
                    })
                }
            }
        }
        // Prompts and interventions have ids of their own; none may look like the baseline.
        ids = [BASELINE.into()].into();
        for (at, intervention) in self.interventions.iter().enumerate() {
            let path = |field: &str| format!("interventions[{at}].{field}");
            let (id, list, scale) = match intervention {
                Intervention::EachHead { scale } | Intervention::EachLayer { scale } => {
                    (None, None, scale)
                }
                Intervention::Heads { id, heads, scale } => {
                    (Some(id), Some(("heads", heads.len())), scale)
                }
                Intervention::Layers { id, layers, scale } => {
                    (Some(id), Some(("layers", layers.len())), scale)
                }
            };
            if let Some(id) = id {
                review_id(review, &path("id"), id, &mut ids);
            }
            if let Some((field, count)) = list {
                review.require((1..=100_000).contains(&count), &path(field), || {
                    format!("expected 1 or more of them, found {count}")
                });
            }
            let in_range = scale.is_finite() && scale.abs() <= MAX_SCALE;
            review.require(in_range, &path("scale"), || {
                format!("expected a number from -{MAX_SCALE} to {MAX_SCALE}, found {scale}")
            });
        }
    }
}

fn review_id(
    review: &mut Review<'_>,
    path: &str,
    id: &str,
    known: &mut std::collections::BTreeSet<String>,
) {
    if let Err(why) = check_id(id) {
        review.wrong(path, why);
    } else if !known.insert(id.into()) {
        review.wrong(path, format!("`{id}` is there twice"));
    }
}
