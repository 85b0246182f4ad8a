//! The thread that reads tiles from the mapped file, verifies them and puts them where the device
//! can copy them from.
//!
//! In: how far each pass goes. Out: staging buffers, one per streamed unit, in the order in which
//! the layers run. It is ahead by as many buffers as there are, and between passes begins with the
//! first layers of the next one.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bevy::platform::cell::SyncCell;
use bevy::render::render_resource::{Buffer, BufferDescriptor, BufferUsages, MapMode, PollType};
use bevy::render::renderer::RenderDevice;

use super::plan::{Part, Plan, Unit};
use crate::model::{ModelError, PixelModel};
use crate::residency::Counters;

/// Of the units of a pass, one in so many is checked again although it was found good before, in
/// turn. Checking all of them would take a core as long as computing does (`specs/residency.md`,
/// section 2).
const RECHECK: usize = 8;
/// How many units ahead of the one that is checked and copied the system is asked to read from the
/// medium.
const AHEAD: usize = 2;

/// A unit's tiles in a buffer, one after another.
pub(super) struct Filled {
    pub unit: usize,
    pub buffer: Buffer,
    pub result: Result<(), ModelError>,
}

/// The caller's end of the thread.
pub(super) struct Prefetcher {
    /// How many streamed units the next pass needs.
    orders: Option<Sender<usize>>,
    filled: Option<SyncCell<Receiver<Filled>>>,
    free: Option<Sender<Buffer>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Prefetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl Prefetcher {
    pub fn start(
        device: &RenderDevice,
        model: &Arc<PixelModel>,
        plan: &Plan,
        counters: &Arc<Counters>,
    ) -> std::io::Result<Self> {
        let (orders, ordered) = channel();
        let (full, filled) = channel();
        let (free, empty) = channel();
        let size = plan
            .units
            .iter()
            .filter(|unit| unit.streamed)
            .map(|unit| unit.bytes)
            .max()
            .unwrap_or(16);
        for _ in 0..plan.tuning.buffers {
            let buffer = device.create_buffer(&BufferDescriptor {
                label: Some("residency:staging"),
                size,
                usage: BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            });
            // The other end is in this function.
            let _ = free.send(buffer);
        }
        let units: Vec<(usize, Unit)> =
            plan.units.iter().cloned().enumerate().filter(|(_, unit)| unit.streamed).collect();
        let reader = Reader { model: Arc::clone(model), units, counters: Arc::clone(counters) };
        let thread = std::thread::Builder::new()
            .name("residency".into())
            .spawn(move || reader.run(&ordered, &empty, &full))?;
        Ok(Self {
            orders: Some(orders),
            filled: Some(SyncCell::new(filled)),
            free: Some(free),
            thread: Some(thread),
        })
    }

    /// Tells how many streamed units the next pass needs.
    pub fn order(&self, units: usize) {
        // A thread that is gone is found when its buffers do not come.
        let _ = self.orders.as_ref().map(|orders| orders.send(units));
    }

    /// The next unit if it is there.
    pub(crate) fn try_next(&mut self) -> Option<Filled> {
        self.filled.as_mut()?.get().try_recv().ok()
    }

    /// The next unit, and how long it was waited for. `None` if the thread is gone.
    pub fn next(&mut self, device: &RenderDevice) -> Option<(Filled, Duration)> {
        let start = Instant::now();
        if let Some(filled) = self.try_next() {
            return Some((filled, Duration::ZERO));
        }
        // The thread may wait for a buffer that the device has done with but has not given back.
        loop {
            // A lost device is found by whoever reads the pass's results.
            let _ = device.poll(PollType::Poll);
            match self.filled.as_mut()?.get().recv_timeout(Duration::from_millis(1)) {
                Ok(filled) => return Some((filled, start.elapsed())),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Gives a buffer back once the copies from it that were submitted are done.
    pub(crate) fn give_back(&self, device: &RenderDevice, buffer: Buffer) {
        let Some(free) = self.free.clone() else { return };
        let whole = buffer.clone();
        device.map_buffer(&whole.slice(..), MapMode::Write, move |mapped| {
            if mapped.is_ok() {
                // When the pool is being dropped nobody needs it.
                let _ = free.send(buffer);
            }
        });
    }
}

impl Drop for Prefetcher {
    fn drop(&mut self) {
        // The thread ends when these are gone: joining it first would wait for ever.
        (self.orders, self.filled, self.free) = (None, None, None);
        if let Some(thread) = self.thread.take() {
            // It has said what was wrong, if anything was.
            let _ = thread.join();
        }
    }
}

struct Reader {
    model: Arc<PixelModel>,
    units: Vec<(usize, Unit)>,
    counters: Arc<Counters>,
}

impl Reader {
    /// Until the other end is gone.
    fn run(&self, orders: &Receiver<usize>, empty: &Receiver<Buffer>, full: &Sender<Filled>) {
        // How far every pass goes: the output matrix is not always wanted.
        let layers =
            self.units.iter().filter(|(_, unit)| matches!(unit.part, Part::Layer(_))).count();
        let (mut next, mut ordered, mut pass) = (0, None, 0usize);
        loop {
            if ordered.is_none() {
                ordered = orders.try_recv().ok();
            }
            match ordered {
                Some(end) if next >= end => (next, ordered, pass) = (0, None, pass.wrapping_add(1)),
                None if next >= layers => match orders.recv() {
                    Ok(end) => ordered = Some(end),
                    Err(_) => return,
                },
                _ => {
                    let Some(buffer) = self.wait(orders, empty, &mut ordered) else { return };
                    let again = next % RECHECK == pass % RECHECK;
                    if full.send(self.fill(next, buffer, again)).is_err() {
                        return;
                    }
                    next += 1;
                }
            }
        }
    }

    /// An empty buffer, or `None` where the other end is gone.
    fn wait(
        &self,
        orders: &Receiver<usize>,
        empty: &Receiver<Buffer>,
        ordered: &mut Option<usize>,
    ) -> Option<Buffer> {
        loop {
            match empty.recv_timeout(Duration::from_millis(50)) {
                Ok(buffer) => return Some(buffer),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
                // Callbacks of the device hold the other end too: whether the pool is gone is told
                // by its orders.
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => match orders.try_recv() {
                    Ok(end) if ordered.is_none() => *ordered = Some(end),
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return None,
                    _ => {}
                },
            }
        }
    }

    /// Reads a unit; `again` checks tiles that were found good before.
    fn fill(&self, index: usize, buffer: Buffer, again: bool) -> Filled {
        let (number, unit) = &self.units[index];
        // Those between were asked for when the units before this one were filled.
        let (_, after) = &self.units[(index + AHEAD) % self.units.len()];
        runs(&after.tiles).for_each(|run| self.model.will_need(run));
        let start = Instant::now();
        let mut view = buffer.slice(..).get_mapped_range_mut();
        let (mut at, mut result) = (0, Ok(()));
        for &tile in &unit.tiles {
            match self.model.tile_to_compute(tile, again) {
                Ok(bytes) => {
                    view.slice(at..at + bytes.len()).copy_from_slice(bytes);
                    at += bytes.len();
                }
                Err(error) => {
                    self.counters.bad();
                    result = Err(error);
                    break;
                }
            }
        }
        // A buffer cannot be unmapped while it is viewed.
        drop(view);
        buffer.unmap();
        self.counters.read(unit.bytes, start.elapsed());
        runs(&unit.tiles).for_each(|run| self.model.release(run));
        Filled { unit: *number, buffer, result }
    }
}

/// Runs of tiles that follow one another in the file.
pub(super) fn runs(tiles: &[u32]) -> impl Iterator<Item = std::ops::Range<u32>> + '_ {
    tiles.chunk_by(|a, b| a + 1 == *b).map(|run| run[0]..run[run.len() - 1] + 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn tiles_that_follow_one_another_are_one_run() {
        let found: Vec<_> = super::runs(&[3, 4, 5, 9, 11, 12]).collect();
        assert_eq!(found, [3..6, 9..10, 11..13]);
        assert_eq!(super::runs(&[]).count(), 0);
    }
}
