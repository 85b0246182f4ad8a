//! What an interrupt ends: the run that is going on, the answer of a conversation, or the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

// Global, since the handlers of signals are set before there is a run.
static RUNNING: AtomicBool = AtomicBool::new(false);
static CANCELLED: AtomicBool = AtomicBool::new(false);
/// Whether an interrupt only ever ends what is running, as in a conversation on a terminal.
static STAYS: AtomicBool = AtomicBool::new(false);
/// Whether the program was told to end.
static ENDS: AtomicBool = AtomicBool::new(false);
/// When a run was asked to end.
static ASKED: Mutex<Option<Instant>> = Mutex::new(None);

/// How soon a second interrupt may come that means no more than the first one.
const PATIENCE: Duration = Duration::from_secs(1);

/// For the interrupt handler: asks a run to end after its present step. False where there is none
/// to ask, or it was asked before, so that the program is to end at once.
pub fn interrupt() -> bool {
    if !RUNNING.load(Ordering::SeqCst) {
        // In a conversation the keys were pressed to stop an answer that ended by itself meanwhile.
        // At its prompt the editor hears of interrupts, and says what ends the conversation.
        return STAYS.load(Ordering::SeqCst);
    }
    // It may wait for a lock: handlers run on threads of their own, not within the signal.
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    if !CANCELLED.swap(true, Ordering::SeqCst) {
        *asked = Some(Instant::now());
        return true;
    }
    // Who presses the keys twice wants the answer to end, not the conversation, unless it goes on.
    let just_now = asked.is_some_and(|since| since.elapsed() < PATIENCE);
    STAYS.load(Ordering::SeqCst) && just_now
}

/// For the handler of signals that end the program: as [`interrupt`], and a conversation ends with
/// its answer.
pub fn end() -> bool {
    let is_first = !ENDS.swap(true, Ordering::SeqCst);
    let ends_softly = is_first && RUNNING.load(Ordering::SeqCst);
    if ends_softly {
        CANCELLED.store(true, Ordering::SeqCst);
    }
    ends_softly
}

/// For a conversation: whether the program is to end.
pub(in crate::app::cli) fn is_to_end() -> bool {
    ENDS.load(Ordering::SeqCst)
}

/// For a conversation: from now on interrupts end what is running and never the program.
pub(in crate::app::cli) fn interrupts_end_nothing() {
    STAYS.store(true, Ordering::SeqCst);
}

/// For a conversation: what is asked next was not interrupted.
pub(in crate::app::cli) fn forget_interrupt() {
    CANCELLED.store(false, Ordering::SeqCst);
}

/// Whether there was an interrupt since the last one was forgotten.
pub(in crate::app::cli) fn was_interrupted() -> bool {
    CANCELLED.load(Ordering::SeqCst)
}

/// Runs work that looks at the flag it is given, which an interrupt sets.
pub fn interruptible<T>(work: impl FnOnce(&AtomicBool) -> T) -> T {
    RUNNING.store(true, Ordering::SeqCst);
    let result = work(&CANCELLED);
    RUNNING.store(false, Ordering::SeqCst);
    result
}
