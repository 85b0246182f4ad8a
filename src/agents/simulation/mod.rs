//! The simulation: the world's own time, what a seed decides, what happened, and the whole of it in
//! a file.
//!
//! The world advances in ticks of a fixed length, whatever the frames do. With the same seed and
//! without a [`super::WorkerPool`] every run of one program is the same, tick by tick; a world that
//! was saved goes on as it would have.

mod clock;
mod rng;
mod trace;
mod workload;

#[cfg(feature = "world")]
mod drive;
#[cfg(feature = "world")]
mod snapshot;

pub use clock::{Clock, DEFAULT_TICKS_PER_SECOND, MAX_SPEED, MAX_TICKS_PER_FRAME};
pub use rng::SimulationRng;
pub use trace::{Incident, SimulationTrace, TraceEntry};
pub use workload::jobs_of_model;

#[cfg(feature = "world")]
pub use drive::{Simulation, SimulationPlugin, SimulationSystems};
#[cfg(feature = "world")]
pub use snapshot::{Camera, SavedAgent, WorldSnapshot};
