//! Reads tiles on Bevy's IO task pool: each is touched in the mapped file and verified.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bevy::tasks::{IoTaskPool, Task, futures::check_ready};

use crate::model::{ModelError, PixelModel};

/// Tiles that are being read.
#[derive(Debug, Default)]
pub(super) struct Reads(HashMap<u32, Task<Done>>);

/// What came of a tile, and how long it took.
type Done = (Result<(), ModelError>, Duration);

/// A tile that has been read, or cannot be.
pub(super) struct TileRead {
    pub tile: u32,
    pub result: Result<(), ModelError>,
    pub time: Duration,
}

impl Reads {
    /// Begins to read a tile.
    pub fn start(&mut self, model: &Arc<PixelModel>, tile: u32) {
        let model = Arc::clone(model);
        let task = IoTaskPool::get().spawn(async move {
            let start = Instant::now();
            let result = model.load_tile(tile).map(|_| ());
            (result, start.elapsed())
        });
        self.0.insert(tile, task);
    }

    /// Gives up a tile: one that is not begun never will be.
    pub fn cancel(&mut self, tile: u32) {
        self.0.remove(&tile);
    }

    /// Tiles that are done, in their order.
    pub fn done(&mut self) -> Vec<TileRead> {
        let mut done = Vec::new();
        self.0.retain(|&tile, task| match check_ready(task) {
            Some((result, time)) => {
                done.push(TileRead { tile, result, time });
                false
            }
            None => true,
        });
        // The order of a `HashMap` is another one in every run.
        done.sort_unstable_by_key(|read| read.tile);
        done
    }
}
