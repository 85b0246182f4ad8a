//! Slots on the device that a model's tiles go through, and what brings them there.

use std::sync::Arc;
use std::time::Instant;

use bevy::prelude::*;
use bevy::render::render_resource::{Buffer, BufferInitDescriptor, BufferUsages, CommandEncoder};
use bevy::render::renderer::{RenderDevice, RenderQueue};

use super::embedding_rows::EmbeddingRowCache;
use super::plan::{Part, Plan, PlanError, Unit};
use super::prefetcher::{Filled, Prefetcher};
use crate::model::{ModelError, PixelModel};
use crate::residency::Counters;
use crate::residency::upload::ABSENT;
use crate::tiles::{Pages, PagesError};

/// Why tiles cannot be brought to the device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The cap is too small.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A slot cannot be filled.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// A tile is damaged or cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// There is no thread to read with, or it has ended.
    #[error("the thread that reads the model's tiles: {0}")]
    Thread(String),
    /// An earlier pass ended in the middle.
    #[error("an earlier pass could not read the model's tiles")]
    Broken,
}

/// A model's tiles on their way through the device.
#[derive(Resource, Debug)]
pub struct Pool {
    plan: Plan,
    model: Arc<PixelModel>,
    slots: Vec<Pages>,
    rows: Pages,
    row_places: EmbeddingRowCache,
    counters: Arc<Counters>,
    feed: Prefetcher,
    broken: bool,
}

impl Pool {
    /// Makes the slots, brings the tiles that stay, and begins to read the others.
    ///
    /// # Errors
    /// A tile is damaged, or a texture cannot be made.
    pub fn new(
        device: &RenderDevice,
        queue: &RenderQueue,
        model: &Arc<PixelModel>,
        plan: Plan,
    ) -> Result<Self, PoolError> {
        let counters = Arc::new(Counters::default());
        let mut places = vec![0; model.tile_count() as usize];
        for unit in &plan.units {
            for (&tile, &line) in unit.tiles.iter().zip(&unit.first_lines) {
                places[tile as usize] = plan.slot.word(line);
            }
        }
        let buffer = |label, places: &[u32]| {
            device.create_buffer_with_data(&BufferInitDescriptor {
                label: Some(label),
                contents: bytemuck::cast_slice(places),
                usage: BufferUsages::STORAGE | BufferUsages::COPY_DST,
            })
        };
        let tile_place = buffer("residency:tile_place", &places);
        let slots: Vec<Pages> = (0..plan.slots)
            .map(|_| Pages::empty(device, plan.slot, tile_place.clone()))
            .collect::<Result<_, _>>()?;
        let row_place = buffer("residency:row_place", &vec![ABSENT; places.len()]);
        let rows = Pages::empty(device, plan.rows, row_place)?;
        for unit in plan.units.iter().filter(|unit| !unit.streamed) {
            let tiles = unit.tiles.iter().copied().zip(unit.first_lines.iter().copied());
            slots[unit.slot].write_tiles(device, queue, model, tiles)?;
            counters.upload(unit.bytes);
        }
        let feed = Prefetcher::start(device, model, &plan, &counters)
            .map_err(|error| PoolError::Thread(error.to_string()))?;
        let row_places = EmbeddingRowCache::new(plan.row_tiles);
        let model = Arc::clone(model);
        Ok(Self { plan, model, slots, rows, row_places, counters, feed, broken: false })
    }

    /// The model whose tiles go through it.
    pub fn model(&self) -> &Arc<PixelModel> {
        &self.model
    }

    /// Which units there are, and in which slots.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What streaming has done.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The texture with rows of the embedding.
    pub fn rows(&self) -> &Pages {
        &self.rows
    }

    /// The texture that a unit is in when its dispatches run.
    pub fn slot(&self, unit: &Unit) -> &Pages {
        &self.slots[unit.slot]
    }

    /// Brings the rows of the embedding for the tokens of a pass, before its first submission.
    ///
    /// # Errors
    /// One of their tiles is damaged.
    pub(crate) fn bring_rows(
        &mut self,
        queue: &RenderQueue,
        tokens: &[u32],
    ) -> Result<(), PoolError> {
        // That it is there was found when the plan was made.
        let embedding = self.model.tensor("token_embd.weight").expect("the plan has an embedding");
        let across = embedding.tiling.tiles_across() as u32;
        let mut tiles: Vec<u32> = tokens
            .iter()
            .map(|&token| u64::from(token).min(embedding.tiling.rows - 1))
            .flat_map(|row| {
                let first = embedding.first_tile + embedding.tiling.tile_of(row, 0) as u32;
                first..first + across
            })
            .collect();
        tiles.sort_unstable();
        tiles.dedup();
        let bring = self.row_places.want(&tiles);
        self.counters.hit((tiles.len() - bring.len()) as u64);
        self.counters.miss(bring.len() as u64);
        self.counters.evict(bring.iter().filter(|bring| bring.evicts.is_some()).count() as u64);
        for bring in bring {
            let start = Instant::now();
            let bytes = self.model.tile_to_compute(bring.tile, true).inspect_err(|_| {
                // `want` counts the tile as there already: no later pass may read its place.
                self.counters.bad();
                self.broken = true;
            })?;
            // A place is no line: no tile is cut by the end of a layer of the texture.
            let per_layer = self.plan.rows.height / self.plan.row_tile_lines;
            let (layer, at) = (bring.place / per_layer, bring.place % per_layer);
            let line = layer * self.plan.rows.height + at * self.plan.row_tile_lines;
            self.rows.write_lines(queue, line, bytes);
            let word = self.plan.rows.word(line);
            let place = |tile: u32, word: u32| {
                queue.write_buffer(&self.rows.tile_place, u64::from(tile) * 4, &word.to_le_bytes());
            };
            // Nobody computes with a tile that is gone, and a drawing sees that it is.
            bring.evicts.into_iter().for_each(|gone| place(gone, ABSENT));
            place(bring.tile, word);
            let size = bytes.len() as u64;
            self.counters.read(size, start.elapsed());
            self.counters.landed(size);
            self.counters.upload(size);
            self.model.release(bring.tile..bring.tile + 1);
        }
        Ok(())
    }

    /// Begins a pass, with the output matrix or without.
    ///
    /// # Errors
    /// An earlier pass ended in the middle.
    pub fn begin(&mut self, with_output: bool) -> Result<Pass<'_>, PoolError> {
        // The thread is still in the middle of that pass: what comes next is another unit.
        if self.broken {
            return Err(PoolError::Broken);
        }
        let wanted = |unit: &&Unit| with_output || matches!(unit.part, Part::Layer(_));
        let streamed = self.plan.units.iter().filter(wanted).filter(|unit| unit.streamed).count();
        if streamed > 0 {
            self.feed.order(streamed);
        }
        Ok(Pass { pool: self, ready: 0, waiting: Vec::new(), start: Instant::now() })
    }
}

/// A pass through the units, in their order.
#[derive(Debug)]
pub struct Pass<'a> {
    pool: &'a mut Pool,
    /// Units from 0 to here are on the device, or copies to there are recorded.
    ready: usize,
    /// Buffers whose copies are recorded and not submitted.
    waiting: Vec<Buffer>,
    start: Instant,
}

impl Pass<'_> {
    /// Has a unit on the device before whatever is recorded next: records copies, and waits for the
    /// file where it must.
    ///
    /// # Errors
    /// A tile is damaged, or nobody reads any more.
    pub fn have(
        &mut self,
        unit: usize,
        device: &RenderDevice,
        encoder: &mut CommandEncoder,
    ) -> Result<(), PoolError> {
        while self.ready <= unit {
            let Unit { streamed, ref tiles, .. } = self.pool.plan.units[self.ready];
            if streamed {
                let (filled, waited) = self.pool.feed.next(device).ok_or_else(|| {
                    self.pool.broken = true;
                    PoolError::Thread("it has ended".into())
                })?;
                if !waited.is_zero() {
                    self.pool.counters.stall(waited);
                }
                self.copy(filled, encoder)?;
            } else {
                self.pool.counters.hit(tiles.len() as u64);
                self.ready += 1;
            }
        }
        Ok(())
    }

    /// Records the copies of the next streamed unit if it is read already and its slot is not that
    /// of `unit`, whose dispatches come after.
    ///
    /// # Errors
    /// A tile is damaged.
    pub(crate) fn go_ahead(
        &mut self,
        unit: usize,
        last: usize,
        encoder: &mut CommandEncoder,
    ) -> Result<(), PoolError> {
        let slot = self.pool.plan.units[unit].slot;
        // Units that stay need no copies; they are counted when it is their turn.
        let next = self.pool.plan.units.get(self.ready);
        let is_free =
            self.ready < last && next.is_some_and(|next| next.streamed && next.slot != slot);
        if let Some(filled) = is_free.then(|| self.pool.feed.try_next()).flatten() {
            self.copy(filled, encoder)?;
        }
        Ok(())
    }

    /// Whether what is recorded has to be submitted, so that its buffers come back.
    pub(crate) fn has_copies(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// To be called when what was recorded has been submitted.
    pub(crate) fn submitted(&mut self, device: &RenderDevice) {
        for buffer in self.waiting.drain(..) {
            self.pool.feed.give_back(device, buffer);
        }
    }

    /// Records the copies of the next unit, which is read.
    fn copy(&mut self, filled: Filled, encoder: &mut CommandEncoder) -> Result<(), PoolError> {
        let Filled { unit, buffer, result } = filled;
        let unit = &self.pool.plan.units[unit];
        let tiles = unit.tiles.len() as u64;
        self.pool.counters.miss(tiles);
        self.pool.counters.evict(tiles);
        // Before the error is looked at: the thread has counted all bytes as in flight either way.
        self.pool.counters.landed(unit.bytes);
        if let Err(error) = result {
            self.pool.broken = true;
            return Err(error.into());
        }
        self.pool.slots[unit.slot].copy_lines(encoder, &buffer, &unit.runs);
        self.pool.counters.upload(unit.bytes);
        self.waiting.push(buffer);
        self.ready += 1;
        Ok(())
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.pool.counters.pass(self.start.elapsed());
    }
}
