//! Jobs without a queue, for simulations: work on the parts of a model. Pure.

use super::SimulationRng;
use crate::agents::{Job, JobId, place_of, place_of_tile};
use crate::model::PixelModel;

/// Work on the parts of a model, as much as is asked for: tiles are verified, then heads ablated
/// and layers probed; again and again where the model has fewer parts. Lengths and priorities are
/// the seed's. A job of a head or layer waits for one of its tiles.
pub fn jobs_of_model(model: &PixelModel, count: usize, rng: &SimulationRng) -> Vec<Job> {
    (0..count as u32).map(|number| job_of_model(model, number, rng)).collect()
}

fn job_of_model(model: &PixelModel, number: u32, rng: &SimulationRng) -> Job {
    let (config, plan) = (model.config(), model.plan());
    let (layers, heads) = (config.layer_count.max(1), config.head_count.max(1));
    let round = number / 8;
    let (layer, head) = (round % layers, round / layers % heads);
    let tile = number % model.tile_count().max(1);
    let (action, name, place) = match number % 8 {
        6 => ("ablate", format!("ablate-{layer}.{head}"), place_of(plan, Some(layer), Some(head))),
        7 => ("probe", format!("probe-{layer}"), place_of(plan, Some(layer), None)),
        _ => ("verify_tiles", format!("verify-tile-{tile}"), place_of_tile(model, tile)),
    };
    let is_of_tile = action == "verify_tiles";
    let [length, urgency] = rng.shares_of(JobId(number));
    let task = format!("{name}.{number}");
    let task = task.parse().expect("small letters, digits, '-' and '.' are the name of a task");
    Job {
        // A share is below 1, so that a priority is at most 10.
        priority: 1 + (urgency * 10.0) as u8,
        phase: if is_of_tile { 1 } else { 2 },
        // Numbers 6 and 7 of each eight wait for number 5, the last of its tiles.
        after: if is_of_tile { Vec::new() } else { vec![JobId(number - 1 - number % 2)] },
        ..Job::new(task, action, place.unwrap_or_default(), (5.0 + 45.0 * length).round())
    }
}
