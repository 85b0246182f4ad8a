//! Work on how the model is stored: checksums, statistics, compression, the cache of tiles and the
//! index of places.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use super::heads::write_file;
use super::{ModelContext, ProgressListener, TaskReport, WorkError, WorkResult};
use crate::map::{
    Access, InfiniteMap, Item, Kind, Kinds, MapOptions, Point, Quadtree, Rect, Tile, TilePos,
};
use crate::model::verify::verify;
use crate::pxi::{Compression, PxiFile, PxiWriter, WriteOptions};

pub(super) fn verify_tiles(context: &ModelContext) -> WorkResult<TaskReport> {
    let start = Instant::now();
    let damaged = verify(&context.model, &|_| ());
    let seconds = start.elapsed().as_secs_f64();
    let tiles = context.model.tile_count();
    let summary = match damaged.first() {
        None => format!("all {tiles} tiles are what was written"),
        Some(first) => format!(
            "{} of {tiles} tiles are damaged, first tile {} of {}",
            damaged.len(),
            first.tile,
            first.tensor
        ),
    };
    let report = TaskReport::new(summary)
        .with("tiles", tiles.into())
        .with("bad_tiles", damaged.len() as f64);
    Ok(report.with("seconds", seconds))
}

/// Where the survey of tiles is kept, in the folder of the queue.
pub const TILE_STATISTICS_FILE: &str = "tile-statistics.json";

pub(super) fn survey_statistics(context: &ModelContext) -> WorkResult<TaskReport> {
    let model = &context.model;
    let mut largest = (0, 0.0_f32);
    let mut spread = 0.0;
    let mut rows = Vec::with_capacity(model.tile_count() as usize);
    for tile in 0..model.tile_count() {
        let found = model.tile_statistics(tile);
        if found.peak > largest.1 {
            largest = (tile, found.peak);
        }
        spread += f64::from(found.spread);
        rows.push(serde_json::json!({
            "tile": tile, "mean": found.mean, "spread": found.spread, "peak": found.peak
        }));
    }
    let name = TILE_STATISTICS_FILE;
    let root = crate::model::hex(&model.header().root);
    let document = serde_json::json!({"model": root, "layer": "statistics", "tiles": rows});
    write_file(context, name, format!("{document}\n").as_bytes())?;
    let tensor = &model.tensors()[model.tile_shape(largest.0).0].name;
    let mut report =
        TaskReport::new(format!("the largest weight is {:.3}, in {tensor}", largest.1))
            .with("tiles", model.tile_count().into())
            .with("mean_spread", spread / f64::from(model.tile_count().max(1)))
            .with("largest_peak", largest.1.into());
    report.files.push(name.into());
    Ok(report)
}

/// The most bytes of tiles that are compressed: enough for a ratio that holds for the model.
const MAX_COMPRESSED_BYTES: usize = 64 << 20;

pub(super) fn compression_ratios(
    context: &ModelContext,
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    let folder = tempfile::tempdir().map_err(WorkError::other)?;
    let mut payload = Vec::new();
    for tensor in 0..context.model.tensors().len() {
        payload.extend_from_slice(context.model.tensor_bytes(tensor));
        if payload.len() >= MAX_COMPRESSED_BYTES {
            payload.truncate(MAX_COMPRESSED_BYTES);
            break;
        }
    }
    let mut report = TaskReport::default().with("payload_bytes", payload.len() as f64);
    let mut words = Vec::new();
    let mut different = 0;
    for compression in Compression::ALL {
        context.go_on()?;
        progress(format!("compression {}", compression.name()));
        let path = folder.path().join(compression.name());
        let options = WriteOptions { compression, ..WriteOptions::default() };
        let mut writer = PxiWriter::create(&path, options).map_err(WorkError::other)?;
        writer.write_all(&payload).map_err(WorkError::other)?;
        writer.finish().map_err(WorkError::other)?;
        let back =
            PxiFile::open(&path).and_then(|file| file.read_all()).map_err(WorkError::other)?;
        different += back.len().abs_diff(payload.len());
        different += back.iter().zip(&payload).filter(|(a, b)| a != b).count();
        let size = std::fs::metadata(&path).map_err(WorkError::other)?.len();
        let ratio = payload.len() as f64 / size.max(1) as f64;
        words.push(format!("{} {ratio:.2}", compression.name()));
        report = report.with(&format!("ratio_{}", compression.name().replace('-', "_")), ratio);
    }
    report.summary = format!("bytes of weights per byte of file: {}", words.join(", "));
    Ok(report.with("different_bytes", different as f64))
}

pub(super) fn warm_up(context: &ModelContext, layer: Option<u32>) -> WorkResult<TaskReport> {
    let layers = context.model.config().layer_count;
    if let Some(layer) = layer.filter(|&layer| layer >= layers) {
        return Err(WorkError::Other(format!("there is no layer {layer}: the model has {layers}")));
    }
    let start = Instant::now();
    // With the last dot, since `blk.1` begins `blk.10` too.
    let prefix = layer.map_or_else(String::new, |layer| format!("blk.{layer}."));
    let (mut tiles, mut bytes) = (0_u32, 0_usize);
    for tile in 0..context.model.tile_count() {
        let (tensor, _) = context.model.tile_shape(tile);
        if context.model.tensors()[tensor].name.starts_with(&prefix) {
            bytes += context.model.tile(tile)?.len();
            tiles += 1;
        }
    }
    let part = layer.map_or_else(|| "the whole model".into(), |layer| format!("layer {layer}"));
    let report = TaskReport::new(format!("{part} is in memory: {tiles} tiles, {bytes} bytes"));
    Ok(report
        .with("tiles", tiles.into())
        .with("bytes", bytes as f64)
        .with("seconds", start.elapsed().as_secs_f64()))
}

/// The most tiles of the map that stand for the model: 48 MiB.
const MAX_MAP_TILES: u64 = 4096;
/// Steps of a walk.
const STEPS: usize = 20_000;

/// A map of the model's bytes in a folder that goes with the value.
struct Scene {
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
    side: i64,
}

/// The bytes of one tile of the map.
const TILE_BYTES: usize = 64 * 64 * 3;

impl Scene {
    fn new(context: &ModelContext) -> WorkResult<Self> {
        let folder = tempfile::tempdir().map_err(WorkError::other)?;
        let mut bytes = Vec::new();
        for tensor in 0..context.model.tensors().len() {
            bytes.extend_from_slice(context.model.tensor_bytes(tensor));
        }
        // A square of tiles: what is over is left out, and less than one tile is filled up.
        let tiles = (bytes.len() / TILE_BYTES).clamp(1, MAX_MAP_TILES as usize);
        let side = tiles.isqrt().max(1) as i64;
        bytes.resize((side * side) as usize * TILE_BYTES, 0);
        let mut map =
            InfiniteMap::create(folder.path(), &MapOptions::default()).map_err(WorkError::other)?;
        for (index, rgb) in bytes.chunks_exact(TILE_BYTES).enumerate() {
            let pos = TilePos::new(index as i64 % side, index as i64 / side);
            let rect = map.tile_size().rect_of(pos).map_err(WorkError::other)?;
            map.write_pixels(&rect, rgb).map_err(WorkError::other)?;
        }
        map.close().map_err(WorkError::other)?;
        Ok(Self { folder, bytes, side })
    }

    fn tiles(&self) -> usize {
        (self.side * self.side) as usize
    }

    /// Walks over the map with a cache of so many tiles; hits, misses, wrong tiles and seconds.
    fn walk(&self, cached: usize, check: bool) -> WorkResult<(u64, u64, u64, f64)> {
        let options = MapOptions { cache_in_bytes: cached * TILE_BYTES, ..MapOptions::default() };
        let map = InfiniteMap::open(self.folder.path(), Access::Read, &options)
            .map_err(WorkError::other)?;
        let mut random = Random(0x5EED);
        let (mut x, mut y) = (self.side / 2, self.side / 2);
        let mut wrong = 0;
        let start = Instant::now();
        for _ in 0..STEPS {
            // A person's walk: to a neighbour, and now and then far away.
            let [dx, dy] = [random.below(3) as i64 - 1, random.below(3) as i64 - 1];
            (x, y) = match random.below(100) {
                0 => (random.below(self.side as u64) as i64, random.below(self.side as u64) as i64),
                _ => ((x + dx).clamp(0, self.side - 1), (y + dy).clamp(0, self.side - 1)),
            };
            let tile = map.tile(TilePos::new(x, y)).map_err(WorkError::other)?;
            if check && !tile.as_deref().is_some_and(|tile| self.is_right(tile, x, y)) {
                wrong += 1;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let stats = map.stats().cache;
        Ok((stats.hits, stats.misses, wrong, seconds))
    }

    fn is_right(&self, tile: &Tile, x: i64, y: i64) -> bool {
        let start = (y * self.side + x) as usize * TILE_BYTES;
        // One pixel of each row: a tile that is another one differs there.
        (0..64).all(|row| {
            let at = start + (row * 64 + row) * 3;
            tile.pixel((row, row)).is_some_and(|pixel| pixel == self.bytes[at..at + 3])
        })
    }
}

pub(super) fn bench_cache(context: &ModelContext) -> WorkResult<TaskReport> {
    let scene = Scene::new(context)?;
    let cached = (scene.tiles() / 4).max(16);
    let (hits, misses, _, seconds) = scene.walk(cached, false)?;
    // A second walk, since the checks take time.
    let (_, _, wrong, _) = scene.walk(cached, true)?;
    let rate = hits as f64 / (hits + misses).max(1) as f64;
    let speed = STEPS as f64 / seconds.max(1e-9);
    let summary = format!(
        "a quarter of {} tiles in memory serves {:.1} % of a walk, {speed:.0} tiles/s",
        scene.tiles(),
        100.0 * rate
    );
    let report = TaskReport::new(summary).with("hit_rate", rate).with("tiles_per_second", speed);
    Ok(report.with("wrong_tiles", wrong as f64).with("tiles", scene.tiles() as f64))
}

pub(super) fn bench_index(context: &ModelContext) -> WorkResult<TaskReport> {
    const QUERIES: usize = 2000;
    /// Those that are answered a second time by looking at every rectangle.
    const CHECKED: usize = 200;
    let model = &context.model;
    let mut tree = Quadtree::default();
    let mut items = Vec::new();
    for tile in 0..model.tile_count() {
        let (tensor, _) = model.tile_shape(tile);
        let index = u64::from(tile - model.tensors()[tensor].first_tile);
        for rect in model.plan().tile_rects(model.tensors(), tensor, index) {
            let rect = Rect::new(rect.x, rect.y, rect.width as u64, rect.height as u64)
                .map_err(WorkError::other)?;
            let item = Item { rect, kind: Kind::MODEL_TILE, number: items.len() as u64 };
            tree.insert(item).map_err(WorkError::other)?;
            items.push(item);
        }
    }
    let [width, height] = model.plan().size.map(|side| side.max(1) as u64);
    let mut random = Random(7);
    let questions: Vec<Rect> = (0..QUERIES)
        .map(|_| {
            let one = Point::new(random.below(width) as i64, random.below(height) as i64);
            let other =
                Point::new(one.x + random.below(512) as i64, one.y + random.below(512) as i64);
            Rect::from_corners(one, other)
        })
        .collect();
    let start = Instant::now();
    let mut found = 0;
    for question in &questions {
        found += black_box(tree.region(question, Kinds::ALL)).len();
    }
    let seconds = start.elapsed().as_secs_f64();
    let wrong = questions.iter().take(CHECKED).filter(|question| {
        let mut answer: Vec<u64> =
            tree.region(question, Kinds::ALL).iter().map(|item| item.number).collect();
        let mut right: Vec<u64> = items
            .iter()
            .filter(|item| item.rect.overlaps(question))
            .map(|item| item.number)
            .collect();
        answer.sort_unstable();
        right.sort_unstable();
        answer != right
    });
    let wrong = wrong.count();
    let speed = QUERIES as f64 / seconds.max(1e-9);
    let mean = found as f64 / QUERIES as f64;
    let summary =
        format!("{} places, {speed:.0} questions/s with {mean:.1} answers each", items.len());
    let report = TaskReport::new(summary)
        .with("places", items.len() as f64)
        .with("queries_per_second", speed);
    Ok(report.with("wrong_answers", wrong as f64))
}

/// Numbers in no order but the same each time (SplitMix64): a bench must be comparable with the
/// next.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % limit.max(1)
    }
}
