//! An engine that waits between two batches while somebody else needs the machine.

use crate::coach::work::PauseToken;
use crate::engine::{Batch, Capacity, CpuEngine, Engine, EngineError, Sampled};

/// Runs batches while the pause token lets it.
pub(super) struct PausedEngine<'a> {
    engine: CpuEngine,
    token: &'a PauseToken,
}

impl<'a> PausedEngine<'a> {
    /// An engine, and where it waits.
    pub(super) fn new(engine: CpuEngine, token: &'a PauseToken) -> Self {
        Self { engine, token }
    }
}

impl Engine for PausedEngine<'_> {
    fn capacity(&self) -> Capacity {
        self.engine.capacity()
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError> {
        // Whoever runs the batches looks at the cancellation between them.
        self.token.pass();
        self.engine.step(batch)
    }

    fn device(&self) -> String {
        self.engine.device()
    }
}
