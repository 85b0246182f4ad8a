//! Agents at work on the queue without a window: time goes as fast as they walk, and waits for
//! nothing but their work.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crate::agents::simulation::{Simulation, SimulationRng};
use crate::agents::{QueueWorkers, load_profiles};
use crate::coach::{TaskRunner, TaskStep};
use crate::content::assets::Assets;

/// A tick while everybody is at work or waits.
const TICK: Duration = Duration::from_millis(4);
/// How often the queue's file is looked at for what other processes have changed.
const LOOK: Duration = Duration::from_millis(250);
/// Each action uses every processor, and a measurement none beside it.
const BENCHES: usize = 1;

/// Lets agents do tasks until nothing is left that they can do.
///
/// # Errors
/// The agents cannot be loaded, or the queue cannot be read or written.
pub fn drive(
    runner: TaskRunner,
    phases: Vec<u32>,
    max_tasks: Option<u32>,
    assets: &Assets,
    tell: &mut dyn FnMut(TaskStep),
) -> anyhow::Result<()> {
    let size = runner.context().model().plan().size.map(|cells| cells as f64);
    let shared_queue = Arc::clone(runner.shared_queue());
    let mut simulation =
        Simulation::new(load_profiles(assets)?, [], size, SimulationRng::default())?;
    let (sender, steps) = mpsc::channel();
    let sender = Mutex::new(sender);
    let hear = move |step| {
        // Whoever listened is gone only when the run is over.
        let _ = sender.lock().unwrap_or_else(PoisonError::into_inner).send(step);
    };
    let runner = Arc::new(runner);
    QueueWorkers::employ(
        simulation.world_mut(),
        runner,
        phases,
        max_tasks,
        (BENCHES, 1.0),
        Arc::new(hear),
    );
    let mut looked = Instant::now();
    loop {
        simulation.tick();
        // Nobody reads the trace, and it grows until it is written.
        simulation.write_trace(&mut std::io::sink())?;
        steps.try_iter().for_each(&mut *tell);
        if QueueWorkers::is_done(simulation.world()) {
            break;
        }
        if looked.elapsed() >= LOOK {
            shared_queue.refresh()?;
            looked = Instant::now();
        }
        if !QueueWorkers::is_anybody_under_way(simulation.world()) {
            std::thread::sleep(TICK);
        }
    }
    // Work may have told its end between the look above and the check.
    steps.try_iter().for_each(tell);
    shared_queue.problem().map_or(Ok(()), |problem| Err(anyhow::anyhow!(problem)))
}
