//! Checkpoints: everything that a run is, so that a resumed one equals one that was never ended.
//!
//! A checkpoint is a folder `step-0000120` with `state.safetensors` (what is trained and both
//! moments, 32-bit floats as they are), `run.json` (where the run stands, what it is of, SHA-256 of
//! the other files), `log.jsonl`, and where an adapter is learnt `adapter.gguf`. It is written
//! beside its place, synced and renamed, so that at every moment a folder of that name is whole.

mod folder;
mod identity;
mod tensors;

pub use folder::{ADAPTER, CheckpointError, CheckpointFolder};
pub use identity::RunIdentity;

use super::run::RunProgress;
use super::trainer::TrainerState;

/// A run at rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// What it is of.
    pub identity: RunIdentity,
    /// Where it stands.
    pub progress: RunProgress,
    /// What was learnt.
    pub state: TrainerState,
}
