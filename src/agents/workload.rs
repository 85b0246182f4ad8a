//! Where jobs come from: the coach's queue, or the parts of a model. Pure.

use super::simulation::Odds;
use super::{Job, JobId, place_of, place_of_tile};
use crate::coach::{self, Action};
use crate::model::{MapPlan, PixelModel};

/// The job that a task of the coach's queue is now: its work, or its review.
pub fn job_of_task(task: &coach::Task, plan: &MapPlan) -> Job {
    let (layer, head) = task.action.place();
    // What is about no part of the model, or about one that this model lacks, is done in the middle of the map.
    let place = place_of(plan, layer, head).or_else(|| place_of(plan, None, None)).unwrap_or_default();
    let is_review = task.status == coach::Status::Review;
    let wanted = if is_review { task.reviewer.unwrap_or_default() } else { task.preferred_agent };
    Job {
        phase: task.phase,
        priority: task.priority,
        wanted,
        ..Job::new(
            task.id.to_string(),
            if is_review { "review" } else { task.action.name() },
            place,
            usual_ticks(&task.action),
        )
    }
}

/// How long an action takes where time is simulated, in ticks.
fn usual_ticks(action: &Action) -> f64 {
    match action {
        Action::VerifyTiles | Action::SurveyStatistics | Action::WarmUp { .. } => 20.0,
        Action::Ablate { .. } | Action::Probe { .. } | Action::Generate { .. } | Action::Review { .. } => {
            40.0
        }
        Action::SurveyHeads | Action::WriteTrainingData { .. } => 200.0,
        _ => 80.0,
    }
}

/// Work on the parts of a model, as much as is asked for: tiles are verified, then heads ablated and layers probed; again and again where the
/// model has fewer parts. Lengths and priorities are the seed's. A job of a head or layer waits for one of its tiles.
pub fn jobs_of_model(model: &PixelModel, count: usize, odds: &Odds) -> Vec<Job> {
    let (config, plan) = (model.config(), model.plan());
    let (layers, heads) = (config.layer_count.max(1), config.head_count.max(1));
    (0..count as u32)
        .map(|number| {
            let round = number / 8;
            let (layer, head) = (round % layers, round / layers % heads);
            let tile = number % model.tile_count().max(1);
            let (action, name, place) = match number % 8 {
                6 => ("ablate", format!("ablate-{layer}.{head}"), place_of(plan, Some(layer), Some(head))),
                7 => ("probe", format!("probe-{layer}"), place_of(plan, Some(layer), None)),
                _ => ("verify_tiles", format!("verify-tile-{tile}"), place_of_tile(model, tile)),
            };
            let [length, urgency] = odds.shares_of(JobId(number));
            Job {
                priority: 1 + (urgency * 10.0) as u8,
                phase: if action == "verify_tiles" { 1 } else { 2 },
                after: if action == "verify_tiles" {
                    Vec::new()
                } else {
                    vec![JobId(number - 1 - number % 2)]
                },
                ..Job::new(
                    format!("{name}#{number}"),
                    action,
                    place.unwrap_or_default(),
                    (5.0 + 45.0 * length).round(),
                )
            }
        })
        .collect()
}
