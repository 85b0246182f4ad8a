//! Keeps rayon's threads awake during a pass, whose hundred parallel loops follow each other within
//! microseconds: a thread that has gone to sleep between two of them takes long to come back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Looks for work between two offers of the processor to somebody else: some microseconds.
const LOOKS: usize = 20;
/// Offers without any work after which a thread sleeps in between: the pass waits for something
/// else, such as a training step that was asked to let others go first.
const OFFERS: usize = 2000;
/// How long it sleeps then.
const NAP: Duration = Duration::from_millis(1);
/// Pauses between two looks, which cost the others memory traffic.
const SPINS: usize = 4;

/// Runs a pass inside the pool, whose other threads look for its work until it ends.
///
/// Inside the pool a parallel loop is a push on the own queue; from outside, each would wake
/// another thread and wait for it.
pub(crate) fn awake<R: Send>(pass: impl FnOnce() -> R + Send) -> R {
    let is_over = AtomicBool::new(false);
    rayon::scope(|scope| {
        for _ in 1..rayon::current_num_threads() {
            scope.spawn(|_| look_for_work(&is_over));
        }
        let _end = End(&is_over);
        pass()
    })
}

/// Does what others leave, until the pass is over.
fn look_for_work(is_over: &AtomicBool) {
    let mut looks = 0;
    while !is_over.load(Ordering::Relaxed) {
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            looks = 0;
            continue;
        }
        looks += 1;
        if looks % LOOKS == 0 {
            // A machine whose processors are all taken has better uses for this one.
            match looks < OFFERS * LOOKS {
                true => std::thread::yield_now(),
                false => std::thread::sleep(NAP),
            }
        } else {
            (0..SPINS).for_each(|_| std::hint::spin_loop());
        }
    }
}

/// Ends the looking when the pass ends, were it by a panic.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
