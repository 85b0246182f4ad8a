//! The logit lens: what the model would say at a position if a layer's residual stream went
//! straight to the output.
//!
//! In: the residual stream of a position, as the kernels made it, and the output's weights as they
//! were edited then. Out: each layer's most probable tokens. The output matrix is multiplied by the
//! processor, on a thread of its own; a frame only asks whether it is done.

use std::sync::Arc;

use bevy::prelude::Resource;
use bevy::tasks::{AsyncComputeTaskPool, Task, futures::check_ready};

use super::Generation;
use crate::forward::cpu::{CpuModel, CpuOptions};
use crate::forward::sampling::Sampler;
use crate::model::PixelModel;
use crate::model::edits::Tiles;

/// Tokens that are told of each layer.
pub const TOLD: usize = 4;

/// What each layer would say at a position.
#[derive(Debug, Clone, PartialEq)]
pub struct LensView {
    /// The number of the sequence, as [`Generation::generation`] has it.
    pub generation: u64,
    /// The position in it, from 0.
    pub at: usize,
    /// The most probable tokens with their probabilities: of the embedding, then after each layer;
    /// the last is what the model says.
    pub layers: Vec<Vec<(u32, f32)>>,
}

/// The lens: what it shows, and what it works on.
#[derive(Resource, Default)]
pub struct Lens {
    twin: Option<Arc<CpuModel>>,
    work: Option<Task<Result<LensView, String>>>,
    /// What was found last.
    pub view: Option<LensView>,
    /// Why there is none.
    pub problem: Option<String>,
}

impl Lens {
    /// Whether it is finding something out.
    pub(crate) fn is_working(&self) -> bool {
        self.work.is_some()
    }

    /// Looks at a position: gives what is known, and begins to find it out where it is not.
    pub fn look(
        &mut self,
        model: &Arc<PixelModel>,
        mind: &Generation,
        at: usize,
    ) -> Option<&LensView> {
        if let Some(found) = self.work.as_mut().and_then(check_ready) {
            self.work = None;
            match found {
                Ok(view) => self.view = Some(view),
                Err(problem) => self.problem = Some(problem),
            }
        }
        let thought = mind.thoughts.get(at)?;
        let (generation, trace) = (mind.generation(), thought.trace.clone());
        let known =
            self.view.as_ref().is_some_and(|view| (view.generation, view.at) == (generation, at));
        if let (false, None, Some(trace)) = (known, &self.work, trace) {
            let twin = match &self.twin {
                Some(twin) => Arc::clone(twin),
                None => match CpuModel::new(
                    Arc::clone(model),
                    CpuOptions { verify: false, ..CpuOptions::default() },
                ) {
                    Ok(twin) => Arc::clone(self.twin.insert(Arc::new(twin))),
                    Err(error) => {
                        self.problem = Some(error.to_string());
                        return None;
                    }
                },
            };
            let edited = Arc::clone(&thought.state.tiles);
            let work = async move {
                see(&twin, &trace.residual, &edited).map(|layers| LensView {
                    generation,
                    at,
                    layers,
                })
            };
            self.work = Some(AsyncComputeTaskPool::get().spawn(work));
        }
        self.view.as_ref().filter(|view| view.generation == generation)
    }
}

/// The most probable tokens of some states of the residual stream, one after the other.
fn see(twin: &CpuModel, states: &[f32], edited: &Tiles) -> Result<Vec<Vec<(u32, f32)>>, String> {
    let mut sampler = Sampler::default();
    let logits = twin.unembed(states, edited);
    logits
        .iter()
        .map(|(_, logits)| {
            let scored = sampler.score(logits, 0, TOLD).map_err(|error| error.to_string())?;
            Ok(scored.top.into_iter().map(|(token, logprob)| (token, logprob.exp())).collect())
        })
        .collect()
}
