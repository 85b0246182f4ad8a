//! The view set in the world: what a window wants is read, uploaded and told of.

use std::sync::Arc;

use bevy::prelude::*;
use bevy::render::renderer::{RenderDevice, RenderQueue};

use super::stream::Reads;
use super::upload::ViewAtlas;
use super::view::{Budgets, TileIndex, TileState, View, ViewCache, rank};
use super::{Counters, Figures};
use crate::model::PixelModel;
use crate::model::plan::Rect;
use crate::tiles::ModelIndex;

/// The view set.
///
/// Adds [`ResidencyBudgets`], [`WantedView`] and [`ResidencyFigures`], and in `PostUpdate` the chained sets of [`ResidencySystems`]. It does nothing until there is
/// a [`ViewTiles`]. In the world it puts [`ViewSlot`] and [`BadTile`] on the tiles' entities, which [`crate::tiles::spawn_model`] makes, and tells of
/// changes by [`TileUploaded`] and [`TileEvicted`]. Where there is a device, the tiles are in the texture of [`ViewAtlas`]. Needs Bevy's `TaskPoolPlugin`.
///
/// The coarse level of every tile is in the model's head ([`PixelModel::tile_grid`]) and needs no plugin: what is not resident is drawn from it.
pub struct ResidencyPlugin;

/// What the view set may take.
#[derive(Resource, Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResidencyBudgets {
    /// Bytes of all tiles of the view.
    pub memory_in_bytes: u64,
    /// Bytes of uploads in one frame.
    pub upload_in_bytes: u64,
}

impl Default for ResidencyBudgets {
    /// 256 MiB of tiles, and 4 MiB of uploads a frame: at 60 frames a second some hundred MB/s.
    fn default() -> Self {
        Self { memory_in_bytes: 256 << 20, upload_in_bytes: 4 << 20 }
    }
}

/// What the camera sees. Whoever moves it writes this before `PostUpdate`.
#[derive(Resource, Debug, Clone, Copy, PartialEq, Default)]
pub struct WantedView {
    /// The cells on screen; empty for none.
    pub rect: Rect,
    /// Screen pixels per cell.
    pub zoom: f32,
}

/// The model whose tiles are drawn. Inserting another one starts anew.
#[derive(Resource, Debug)]
pub struct ViewTiles {
    model: Arc<PixelModel>,
    index: TileIndex,
}

impl ViewTiles {
    /// The tiles of a model on its map.
    pub fn new(model: Arc<PixelModel>) -> Self {
        Self { index: TileIndex::of_model(&model), model }
    }
}

/// What streaming for the view has done.
#[derive(Resource, Debug, Clone, Copy, Default, PartialEq)]
pub struct ResidencyFigures(pub Figures);

/// On a tile's entity: it is resident, in this slot of the [`ViewAtlas`].
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewSlot(pub u32);

/// On a tile's entity: its bytes do not match its checksum.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BadTile;

/// A tile is resident from now on.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileUploaded {
    /// Its place among all tiles of the model.
    pub tile: u32,
    /// Its slot.
    pub slot: u32,
}

/// A tile is resident no more.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileEvicted {
    /// Its place among all tiles of the model.
    pub tile: u32,
    /// The slot that it had.
    pub slot: u32,
}

/// What happens in `PostUpdate`, in this order.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub enum ResidencySystems {
    /// What has been read is taken in; what is wanted is ranked; reads are begun and given up.
    Rank,
    /// What is due this frame is uploaded, and told of.
    Upload,
}

impl Plugin for ResidencyPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<ResidencyBudgets>()
            .init_resource::<WantedView>()
            .init_resource::<ResidencyFigures>()
            .init_resource::<Working>()
            .add_message::<TileUploaded>()
            .add_message::<TileEvicted>()
            .configure_sets(PostUpdate, (ResidencySystems::Rank, ResidencySystems::Upload).chain())
            .add_systems(
                PostUpdate,
                (rank_tiles.in_set(ResidencySystems::Rank), upload_tiles.in_set(ResidencySystems::Upload))
                    .run_if(resource_exists::<ViewTiles>),
            );
    }
}

/// Below this many pixels per cell the coarse level, whose points are eight cells wide or more, shows all that there is to see.
const FINE_FROM: f32 = 0.125;
/// Bytes of a slot: the largest tile.
const SLOT_BYTES: u64 = 64 << 10;

/// The state of the view set.
#[derive(Resource)]
struct Working {
    cache: ViewCache,
    reads: Reads,
    counters: Counters,
    slots: super::upload::Slots,
    upload: Vec<u32>,
    evict: Vec<u32>,
}

impl Default for Working {
    fn default() -> Self {
        Self {
            cache: ViewCache::new(Budgets { memory_in_bytes: 0, upload_in_bytes: 0 }),
            reads: Reads::default(),
            counters: Counters::default(),
            slots: super::upload::Slots::default(),
            upload: Vec::new(),
            evict: Vec::new(),
        }
    }
}

fn rank_tiles(
    tiles: Res<ViewTiles>,
    budgets: Res<ResidencyBudgets>,
    view: Res<WantedView>,
    entities: Option<Res<ModelIndex>>,
    mut commands: Commands,
    mut working: ResMut<Working>,
    mut figures: ResMut<ResidencyFigures>,
) {
    let working = &mut *working;
    if tiles.is_changed() {
        let all: Vec<u32> = working.slots.tiles().collect();
        *working = Working { evict: all, slots: std::mem::take(&mut working.slots), ..Working::default() };
    }
    working.cache.set_budgets(Budgets {
        // A tile takes a slot whatever its size.
        memory_in_bytes: budgets.memory_in_bytes / SLOT_BYTES * SLOT_BYTES,
        upload_in_bytes: budgets.upload_in_bytes,
    });
    for read in working.reads.done() {
        let bytes = tiles.model.tile_range(read.tile).len() as u64;
        working.counters.read(bytes, read.time);
        working.counters.landed(bytes);
        match read.result {
            Ok(()) => _ = working.cache.arrived(read.tile),
            Err(error) => {
                warn!("{error}: it is drawn as damaged");
                working.counters.bad();
                working.cache.damaged(read.tile);
                if let Some(entity) = entities.as_ref().and_then(|index| index.tile(read.tile)) {
                    commands.entity(entity).try_insert(BadTile);
                }
            }
        }
    }
    let rect = view.rect;
    let wanted = if view.zoom >= FINE_FROM && rect.width > 0 && rect.height > 0 {
        let view = View { rect, level: 0, margin: rect.width.max(rect.height) / 4 };
        let near = tiles.index.in_rect(&view.reach(), view.level);
        rank(&view, near.into_iter().map(|tile| super::view::Candidate { bytes: SLOT_BYTES as u32, ..tile }))
    } else {
        Vec::new()
    };
    let changes = working.cache.update(&wanted);
    for &tile in &changes.cancel {
        working.reads.cancel(tile);
    }
    for &tile in &changes.read {
        working.reads.start(&tiles.model, tile);
    }
    working.counters.hit(changes.hits);
    working.counters.miss(changes.misses);
    working.counters.evict(changes.evict.len() as u64);
    working.upload.extend(changes.upload);
    working.evict.extend(changes.evict);
    figures.0 = Figures { bytes_in_flight: working.cache.bytes_in_flight(), ..working.counters.figures() };
}

fn upload_tiles(
    tiles: Res<ViewTiles>,
    budgets: Res<ResidencyBudgets>,
    device: Option<Res<RenderDevice>>,
    queue: Option<Res<RenderQueue>>,
    entities: Option<Res<ModelIndex>>,
    mut atlas: Option<ResMut<ViewAtlas>>,
    mut commands: Commands,
    mut working: ResMut<Working>,
    mut uploaded: MessageWriter<TileUploaded>,
    mut evicted: MessageWriter<TileEvicted>,
) {
    let working = &mut *working;
    let entity = |tile: u32| entities.as_ref().and_then(|index| index.tile(tile));
    for tile in working.evict.drain(..) {
        let Some(slot) = working.slots.give_back(tile) else { continue };
        evicted.write(TileEvicted { tile, slot });
        if let Some(entity) = entity(tile) {
            commands.entity(entity).try_remove::<ViewSlot>();
        }
    }
    if let Some(device) = &device
        && atlas.is_none()
        && !working.upload.is_empty()
    {
        // It is there from the next frame on; until then nothing is lost, since what is due stays due.
        match ViewAtlas::new(device, budgets.memory_in_bytes / SLOT_BYTES) {
            Ok(atlas) => commands.insert_resource(atlas),
            Err(error) => error!("no texture for tiles in view: {error}"),
        }
        return;
    }
    for tile in std::mem::take(&mut working.upload) {
        if working.cache.state(tile) != Some(TileState::Resident) {
            continue;
        }
        let slot = working.slots.take(tile);
        // It was verified when it was read, and is not again.
        if let (Some(atlas), Some(queue), Ok(bytes)) = (&mut atlas, &queue, tiles.model.tile(tile)) {
            atlas.write(queue, slot, bytes);
        }
        working.counters.upload(tiles.model.tile_range(tile).len() as u64);
        tiles.model.release(tile..tile + 1);
        uploaded.write(TileUploaded { tile, slot });
        if let Some(entity) = entity(tile) {
            commands.entity(entity).try_insert(ViewSlot(slot));
        }
    }
}
