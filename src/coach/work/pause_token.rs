//! Whether work may go on: it stops at the next step once it is cancelled, and waits there while
//! somebody else needs the machine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often work that waits looks whether it may go on.
const LOOK: Duration = Duration::from_millis(5);

/// Shared between those who work and those who may stop them.
#[derive(Debug, Default)]
pub struct PauseToken {
    cancelled: AtomicBool,
    held: AtomicBool,
}

impl PauseToken {
    /// Ends all work soon, for good.
    pub fn cancel(&self) {
        // Relaxed: the flag is all that others read.
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether work is to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Lets work wait at its next step, or go on.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Waits until work may go on; false if it is to end.
    pub fn pass(&self) -> bool {
        while self.held.load(Ordering::Relaxed) && !self.is_cancelled() {
            thread::sleep(LOOK);
        }
        !self.is_cancelled()
    }

    /// The mark of cancellation, for those who only look at it.
    pub(crate) fn cancellation(&self) -> &AtomicBool {
        &self.cancelled
    }
}
