//! Agents: what they choose, and what a simulation of many does.

#[cfg(feature = "world")]
mod big_brain;
#[cfg(feature = "world")]
mod queue_workers;
#[cfg(feature = "world")]
mod simulation;
#[cfg(feature = "world")]
mod utility;
