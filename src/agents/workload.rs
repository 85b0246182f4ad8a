//! Where jobs come from: the coach's queue, or the parts of a model. Pure.

use super::simulation::SimulationRng;
use super::{Job, JobId, Place, place_of, place_of_tile};
use crate::coach::{self, Action};
use crate::model::{MapPlan, PixelModel};

/// The job that a task of the coach's queue is now: its work, or its review.
pub fn job_of_task(task: &coach::Task, plan: &MapPlan) -> Job {
    let (layer, head) = task.action.place();
    let named = if layer.is_some() { place_of(plan, layer, head) } else { None };
    let place = named.unwrap_or_else(|| place_of_whole(task.id.as_str(), plan));
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

/// Where what is about the whole model is done: at one of its plots, the same each time, so that
/// agents do not all stand in one spot.
fn place_of_whole(task: &str, plan: &MapPlan) -> Place {
    let number = crate::names::number_of(task);
    match plan.plots.len() as u64 {
        0 => place_of(plan, None, None).unwrap_or_default(),
        count => Place::middle(&plan.plots[((number >> 20) % count) as usize].rect),
    }
}

/// How long an action takes where time is simulated, in ticks.
fn usual_ticks(action: &Action) -> f64 {
    match action {
        Action::VerifyTiles | Action::SurveyStatistics | Action::WarmUp { .. } => 20.0,
        Action::Ablate { .. }
        | Action::Probe { .. }
        | Action::Generate { .. }
        | Action::Review { .. } => 40.0,
        Action::SurveyHeads | Action::WriteTrainingData { .. } => 200.0,
        _ => 80.0,
    }
}

/// Work on the parts of a model, as much as is asked for: tiles are verified, then heads ablated
/// and layers probed; again and again where the model has fewer parts. Lengths and priorities are
/// the seed's. A job of a head or layer waits for one of its tiles.
pub fn jobs_of_model(model: &PixelModel, count: usize, odds: &SimulationRng) -> Vec<Job> {
    let (config, plan) = (model.config(), model.plan());
    let (layers, heads) = (config.layer_count.max(1), config.head_count.max(1));
    (0..count as u32)
        .map(|number| {
            let round = number / 8;
            let (layer, head) = (round % layers, round / layers % heads);
            let tile = number % model.tile_count().max(1);
            let (action, name, place) = match number % 8 {
                6 => (
                    "ablate",
                    format!("ablate-{layer}.{head}"),
                    place_of(plan, Some(layer), Some(head)),
                ),
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
