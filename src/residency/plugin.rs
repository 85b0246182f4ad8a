//! The view set in the world: what a window wants is read and uploaded.

use std::sync::Arc;

use bevy::prelude::*;
use bevy::render::extract_resource::ExtractResourcePlugin;
use bevy::render::renderer::{RenderDevice, RenderQueue};
use bevy::render::{MainWorld, RenderApp};

use super::compute::Pool;
use super::stream::Reads;
use super::upload::{ABSENT, DAMAGED, ViewAtlas};
use super::view::{Budgets, TileIndex, TileState, View, ViewCache, rank};
use super::{Counters, ResidencyMetrics};
use crate::model::PixelModel;
use crate::model::plan::Rect;
use crate::tiles::ModelIndex;

/// The view set.
///
/// Adds [`ResidencyBudgets`], [`WantedView`] and [`ResidencyFigures`], and in `PostUpdate` the
/// chained sets of [`ResidencySystems`]. It does nothing until there is a [`ViewTiles`], which
/// comes by itself where the forward pass streams its model through a [`Pool`]. In the world it
/// puts [`BadTile`] on the tiles' entities, which [`crate::tiles::spawn_model`] makes. Where there
/// is a device, the tiles are in the texture of [`ViewAtlas`], of which the render world has a
/// copy. Needs Bevy's `TaskPoolPlugin`.
///
/// The coarse level of every tile is in the model's head ([`coarse`](crate::model::coarse)) and
/// needs no plugin: what is not resident is drawn from it.
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

/// The model whose tiles are drawn through the view set. Inserting another one starts anew.
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

    /// The model that is drawn.
    pub fn model(&self) -> &Arc<PixelModel> {
        &self.model
    }
}

/// What streaming has done so far, of each set: for whoever shows it. Both are `None` while
/// everything is on the device and nothing is streamed.
///
/// Two readings give what was done between them, by [`ResidencyMetrics::since`]; `stall_seconds` of
/// that by its time is the share of waiting.
#[derive(Resource, Debug, Clone, Copy, Default, PartialEq)]
pub struct ResidencyFigures {
    /// Tiles for the picture.
    pub view: Option<ResidencyMetrics>,
    /// Tiles for the forward pass.
    pub compute: Option<ResidencyMetrics>,
    /// What the forward pass has room for.
    pub pool: Option<PoolRoom>,
}

/// What a pool takes of the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolRoom {
    /// Bytes of its textures.
    pub in_bytes: u64,
    /// Slots that parts of the model go through or stay in.
    pub slots: usize,
    /// Bytes of the parts that stay.
    pub stays_in_bytes: u64,
}

/// On a tile's entity: its bytes do not match its checksum.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BadTile;

/// What happens in `PostUpdate`, in this order.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub enum ResidencySystems {
    /// What has been read is taken in; what is wanted is ranked; reads are begun and given up.
    Rank,
    /// What is due this frame is uploaded.
    Upload,
}

impl Plugin for ResidencyPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<ResidencyBudgets>()
            .init_resource::<WantedView>()
            .init_resource::<ResidencyFigures>()
            .init_resource::<Working>()
            .configure_sets(PostUpdate, (ResidencySystems::Rank, ResidencySystems::Upload).chain())
            .add_systems(
                PostUpdate,
                (
                    (make_atlas, rank_tiles).chain().in_set(ResidencySystems::Rank),
                    upload_tiles.in_set(ResidencySystems::Upload),
                )
                    .run_if(resource_exists::<ViewTiles>),
            );
        if let Some(render_app) = app.get_sub_app_mut(RenderApp) {
            // It writes the main world during extraction, but only our two resources there, which
            // nothing else extracts.
            let follow = follow_pool.run_if(resource_exists::<Pool>).ambiguous_with_all();
            render_app.add_systems(ExtractSchedule, follow);
            app.add_plugins(ExtractResourcePlugin::<ViewAtlas>::default());
        }
    }
}

/// A model that is streamed for the forward pass is drawn through the view set, since no page
/// texture holds all of it.
fn follow_pool(pool: Res<Pool>, mut main: ResMut<MainWorld>) {
    let known = main
        .get_resource::<ViewTiles>()
        .is_some_and(|tiles| Arc::ptr_eq(&tiles.model, pool.model()));
    if !known {
        main.insert_resource(ViewTiles::new(Arc::clone(pool.model())));
    }
    let plan = pool.plan();
    let room = PoolRoom {
        in_bytes: plan.size_in_bytes(),
        slots: plan.slots,
        stays_in_bytes: plan
            .units
            .iter()
            .filter(|unit| !unit.streamed)
            .map(|unit| unit.bytes)
            .sum(),
    };
    let mut figures = main.resource_mut::<ResidencyFigures>();
    figures.compute = Some(pool.counters().figures());
    figures.pool = Some(room);
}

/// Below this many pixels per cell the coarse level, whose points are eight cells wide or more, is
/// all that is drawn (`view/tiles.wgsl`).
const FINE_FROM: f32 = 0.1;
/// Bytes of a slot of the [`ViewAtlas`]: the largest tile.
pub const SLOT_BYTES: u64 = 64 << 10;

/// The state of the view set.
#[derive(Resource)]
struct Working {
    cache: ViewCache,
    reads: Reads,
    counters: Counters,
    slots: super::upload::Slots,
    upload: Vec<u32>,
    evict: Vec<u32>,
    bad: Vec<u32>,
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
            bad: Vec::new(),
        }
    }
}

/// Makes the texture for the tiles of a model, and anew for another one and on another device.
fn make_atlas(
    tiles: Res<ViewTiles>,
    budgets: Res<ResidencyBudgets>,
    device: Option<Res<RenderDevice>>,
    mut working: ResMut<Working>,
    mut commands: Commands,
) {
    let Some(device) = device else { return };
    if !tiles.is_changed() && !device.is_changed() {
        return;
    }
    // What another texture held is not in this one.
    let all: Vec<u32> = working.slots.tiles().collect();
    *working =
        Working { evict: all, slots: std::mem::take(&mut working.slots), ..Working::default() };
    let slots = u32::try_from(budgets.memory_in_bytes / SLOT_BYTES).unwrap_or(u32::MAX);
    match ViewAtlas::new(&device, slots, tiles.model.tile_count()) {
        Ok(atlas) => commands.insert_resource(atlas),
        Err(error) => {
            error!(
                "there is no texture for tiles in view, which are drawn from afar only: {error}"
            );
            commands.remove_resource::<ViewAtlas>();
        }
    }
}

fn rank_tiles(
    tiles: Res<ViewTiles>,
    budgets: Res<ResidencyBudgets>,
    view: Res<WantedView>,
    entities: Option<Res<ModelIndex>>,
    atlas: Option<Res<ViewAtlas>>,
    mut commands: Commands,
    mut working: ResMut<Working>,
    mut figures: ResMut<ResidencyFigures>,
) {
    let working = &mut *working;
    // A tile takes a slot whatever its size.
    let slots = atlas.as_ref().map_or(u64::MAX, |atlas| atlas.slots().into());
    working.cache.set_budgets(Budgets {
        memory_in_bytes: (budgets.memory_in_bytes / SLOT_BYTES).min(slots) * SLOT_BYTES,
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
                working.bad.push(read.tile);
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
        rank(
            &view,
            near.into_iter()
                .map(|tile| super::view::Candidate { bytes: SLOT_BYTES as u32, ..tile }),
        )
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
    let bytes_in_flight = working.cache.bytes_in_flight();
    figures.view = Some(ResidencyMetrics { bytes_in_flight, ..working.counters.figures() });
}

fn upload_tiles(
    tiles: Res<ViewTiles>,
    queue: Option<Res<RenderQueue>>,
    atlas: Option<Res<ViewAtlas>>,
    mut working: ResMut<Working>,
) {
    let working = &mut *working;
    let device = atlas.as_ref().zip(queue.as_ref());
    let tell = |tile, word| device.iter().for_each(|(atlas, queue)| atlas.tell(queue, tile, word));
    // First, so that what is uploaded finds their slots free.
    for tile in working.evict.drain(..) {
        if working.slots.give_back(tile).is_some() {
            tell(tile, ABSENT);
        }
    }
    working.bad.drain(..).for_each(|tile| tell(tile, DAMAGED));
    for tile in std::mem::take(&mut working.upload) {
        if working.cache.state(tile) != Some(TileState::Resident) {
            continue;
        }
        let slot = working.slots.take(tile);
        // It was verified when it was read, and is not again.
        if let (Some((atlas, queue)), Ok(bytes)) = (device, tiles.model.tile(tile)) {
            atlas.write(queue, tile, slot, bytes);
        }
        working.counters.upload(tiles.model.tile_range(tile).len() as u64);
        tiles.model.release(tile..tile + 1);
    }
}
