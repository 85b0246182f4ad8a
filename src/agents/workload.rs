//! Where jobs come from: the coach's queue, or the parts of a model. Pure.

use std::collections::HashMap;

use super::simulation::Odds;
use super::{Job, JobId, Place, place_of, place_of_tile};
use crate::coach::{self, Action};
use crate::model::{MapPlan, PixelModel};

/// The jobs of a queue's tasks that are not completed, each after what it depends on, and the tasks in the same order. Tasks that only a person
/// can carry on, and what is blocked or failed, are left out, and so is what waits for those.
pub fn jobs_of_queue(queue: &coach::Queue, plan: &MapPlan) -> Vec<Job> {
    let by_name: HashMap<&coach::TaskId, &coach::Task> =
        queue.tasks().iter().map(|task| (&task.id, task)).collect();
    let mut jobs: Vec<Job> = Vec::new();
    let mut numbers: HashMap<&coach::TaskId, JobId> = HashMap::new();
    let mut left: Vec<&coach::Task> = queue.tasks().iter().filter(|task| is_for_agents(task)).collect();
    // Rounds over what is left: in each, what waits for nothing that is left gets its number.
    loop {
        let before = left.len();
        left.retain(|task| {
            let mut after = Vec::new();
            for id in &task.dependencies {
                match (numbers.get(id), by_name.get(id)) {
                    (Some(&number), _) => after.push(number),
                    (None, Some(other)) if other.status == coach::Status::Completed => {}
                    (None, _) => return true,
                }
            }
            numbers.insert(&task.id, JobId(jobs.len() as u32));
            jobs.push(job_of_task(task, after, plan));
            false
        });
        if left.is_empty() || left.len() == before {
            return jobs;
        }
    }
}

fn is_for_agents(task: &coach::Task) -> bool {
    let open = matches!(task.status, coach::Status::Pending | coach::Status::InProgress);
    open && !task.needs_person && task.preferred_agent != coach::Agent::Human
}

fn job_of_task(task: &coach::Task, after: Vec<JobId>, plan: &MapPlan) -> Job {
    let (layer, head) = task.action.place();
    // What is about no part of the model, or about one that this model lacks, is done in the middle of the map.
    let place = place_of(plan, layer, head).or_else(|| place_of(plan, None, None)).unwrap_or_default();
    Job {
        task: task.id.to_string(),
        action: task.action.name().into(),
        wanted: task.preferred_agent,
        place,
        phase: task.phase,
        priority: task.priority,
        work: usual_ticks(&task.action),
        after,
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
                    place.unwrap_or(Place::default()),
                    (5.0 + 45.0 * length).round(),
                )
            }
        })
        .collect()
}
