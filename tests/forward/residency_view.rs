//! A camera's path over a synthetic model of 100,000 tiles, by the pure parts of the view set:
//! budgets hold, of what is on screen comes all that fits, and the trace is the same each time.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use pixel_llm::forward::Interventions;
use pixel_llm::model::plan::Rect;
use pixel_llm::residency::view::{
    Budgets, Candidate, TileIndex, TileState, View, ViewCache, Wanted, rank,
};

const TILE: i64 = 64;
/// Base tiles along a side: with the levels above them 100,000 and some.
const SIDE: i64 = 274;
const COARSEST: u8 = 6;
const BYTES: u32 = 64 << 10;
const BUDGETS: Budgets = Budgets { memory_in_bytes: 64 << 20, upload_in_bytes: 1 << 20 };
/// Frames that a read takes.
const LATENCY: usize = 3;

fn pyramid() -> Vec<Candidate> {
    let mut tiles = Vec::new();
    for level in 0..=COARSEST {
        let size = TILE << level;
        let side = (SIDE * TILE + size - 1) / size;
        for y in 0..side {
            for x in 0..side {
                let rect = Rect::new(x * size, y * size, size, size);
                tiles.push(Candidate { id: tiles.len() as u32, level, rect, bytes: BYTES });
            }
        }
    }
    tiles
}

/// Where the camera is: it zooms in, pans fast, jumps, rests, and zooms out.
fn camera(frame: i64) -> (i64, i64, f32) {
    let edge = SIDE * TILE;
    match frame {
        0..=99 => (edge / 2, edge / 2, 0.05 * 1.05f32.powi(frame as i32)),
        100..=299 => (edge / 2 + (frame - 100) * 40, edge / 2 - (frame - 100) * 25, 2.0),
        300..=399 => (1000, 2000, 1.0),
        400..=499 => (1000 + (frame - 400) * 300 % edge, 2000, 0.7),
        500..=699 => (edge / 3, edge / 3, 2.0 * 0.95f32.powi((frame - 500) as i32)),
        _ => (edge / 2, edge / 2, 1.0),
    }
}

/// The screen in pixels. At last it is so large that eight times as many tiles are on it as the
/// budget holds.
fn screen(frame: usize) -> [f32; 2] {
    if frame < 700 { [1280.0, 720.0] } else { [7680.0, 4320.0] }
}

struct Trace {
    hash: u64,
    arrivals: Vec<u64>,
    cancelled: usize,
    evicted: usize,
    /// Frames with more on the screen than the budget holds.
    left_out: u64,
}

fn fly() -> Trace {
    let tiles = pyramid();
    assert!(tiles.len() >= 100_000, "{}", tiles.len());
    let index = TileIndex::new(tiles.clone());
    let mut cache = ViewCache::new(BUDGETS);
    for tile in tiles.iter().filter(|tile| tile.level == COARSEST) {
        assert!(cache.pin(tile.id, tile.bytes), "the coarsest level is small");
    }
    let coarse: Vec<Candidate> =
        tiles.iter().copied().filter(|tile| tile.level == COARSEST).collect();
    let mut reading: VecDeque<(usize, u32)> = VecDeque::new();
    let mut resident: HashSet<u32> = HashSet::new();
    let mut hash = DefaultHasher::new();
    let (mut arrivals, mut cancelled, mut evicted, mut still, mut left_out) =
        (Vec::new(), 0, 0, 0u64, 0);
    let mut before = None;
    for frame in 0..850usize {
        let (x, y, zoom) = camera(frame as i64);
        let [width, height] = screen(frame).map(|side| (side / zoom) as i64);
        let rect = Rect::new(x - width / 2, y - height / 2, width, height);
        let view = View::new(rect, zoom, COARSEST);
        let wanted: Vec<Wanted> = rank(&view, index.in_rect(&view.reach(), view.level));
        while reading.front().is_some_and(|&(due, _)| due <= frame) {
            cache.arrived(reading.pop_front().unwrap().1);
        }
        let changes = cache.update(&wanted);
        left_out += u64::from(changes.left_out > 0);
        changes.read.iter().for_each(|&id| reading.push_back((frame + LATENCY, id)));
        reading.retain(|(_, id)| !changes.cancel.contains(id));
        for id in &changes.evict {
            assert!(resident.remove(id), "{id} was not there");
            let drawn = wanted.iter().any(|tile| tile.id == *id && tile.visible);
            assert!(!drawn, "frame {frame}: {id} is on screen and went");
        }
        resident.extend(&changes.upload);
        (changes.read, &changes.cancel, &changes.upload, &changes.evict).hash(&mut hash);
        (cancelled, evicted) = (cancelled + changes.cancel.len(), evicted + changes.evict.len());

        // Never over its budgets.
        assert!(cache.size_in_bytes() <= BUDGETS.memory_in_bytes, "frame {frame}");
        let held = (resident.len() + coarse.len()) as u64 * u64::from(BYTES);
        assert!(held <= cache.size_in_bytes());
        let uploaded = changes.upload.len() as u64 * u64::from(BYTES);
        assert!(uploaded <= BUDGETS.upload_in_bytes, "frame {frame}: {uploaded}");
        // The coarse cover is never missing.
        assert!(
            coarse.iter().all(|tile| cache.state(tile.id) == Some(TileState::Resident)),
            "frame {frame}"
        );

        // A camera that rests sees all that fits after the reads' latency and the frames that its
        // uploads take: the coarser levels first, then what is near the middle. What does not fit
        // has the coarsest level, which is always there.
        still = if before == Some((x, y, zoom.to_bits())) { still + 1 } else { 0 };
        before = Some((x, y, zoom.to_bits()));
        let room = BUDGETS.memory_in_bytes - coarse.len() as u64 * u64::from(BYTES);
        let moving = wanted.iter().filter(|tile| tile.visible && tile.level < COARSEST);
        let fit: Vec<&Wanted> = moving.clone().take((room / u64::from(BYTES)) as usize).collect();
        assert_eq!(changes.left_out, (moving.count() - fit.len()) as u64, "frame {frame}");
        let bytes = fit.len() as u64 * u64::from(BYTES);
        let due = LATENCY as u64 + 1 + bytes.div_ceil(BUDGETS.upload_in_bytes);
        let all = fit.iter().all(|tile| cache.state(tile.id) == Some(TileState::Resident));
        assert!(all || still < due, "frame {frame}: {still} frames at rest, {due} are enough");
        if all {
            arrivals.push(frame as u64);
        }
    }
    Trace { hash: hash.finish(), arrivals, cancelled, evicted, left_out }
}

#[test]
fn a_path_over_100_000_tiles_keeps_its_budgets_and_is_the_same_each_time() {
    let (one, two) = (fly(), fly());
    println!(
        "{} frames complete, {} tiles cancelled, {} evicted, trace {:016x}",
        one.arrivals.len(),
        one.cancelled,
        one.evicted,
        one.hash
    );
    assert_eq!((one.hash, &one.arrivals), (two.hash, &two.arrivals));
    assert!(one.cancelled > 0 && one.evicted > 0, "the path is one that needs both");
    assert!(one.left_out > 0, "and where a screen is too large");
    assert!(one.arrivals.contains(&849), "all that fits of such a screen came");
    assert!(one.arrivals.iter().any(|frame| (300..400).contains(frame)), "the camera rested there");
}

#[test]
fn keys_and_values_are_shown_on_a_map() {
    use pixel_llm::forward::cpu::{Column, CpuModel, CpuOptions, KvCache};
    use pixel_llm::map::{InfiniteMap, Point, TileSize};
    use pixel_llm::residency::regions::CacheRegions;

    let model = std::sync::Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let config = model.config().clone();
    let cpu = CpuModel::new(model, CpuOptions::default()).unwrap();
    let mut cache = KvCache::new(&config, 1, 80);
    let columns: Vec<Column> = (0..70)
        .map(|position| Column { token: position + 1, slot: 0, position, wants_logits: false })
        .collect();
    cpu.forward(&mut cache, &columns, &Interventions::default(), None).unwrap();

    let mut map = InfiniteMap::in_memory(TileSize::default());
    let regions = CacheRegions::place(&mut map, &config, 80).unwrap();
    assert_eq!(map.regions().len(), 2 * config.layer_count as usize);
    for layer in 0..config.layer_count {
        let rows = cache.rows(layer as usize, 0);
        assert_eq!(rows[0].len(), 70 * config.kv_size() as usize);
        regions.write(&mut map, layer, [&rows[0], &rows[1]]).unwrap();
        let rect = regions.layer(layer).unwrap()[1].rect;
        let pixel = |row: i64, x: i64| {
            map.pixel(Point { x: rect.left() + x, y: rect.top() + row }).unwrap()
        };
        // The sign of a value is the colour of its pixel, in the last row that there is as in the
        // first.
        for row in [0i64, 63, 64, 69] {
            for x in 0..i64::from(config.kv_size()) {
                let value = rows[1][(row * i64::from(config.kv_size()) + x) as usize];
                let [red, _, blue] = pixel(row, x).unwrap();
                assert!(
                    if value > 0.0 { blue == 0 } else { red == 0 },
                    "layer {layer} row {row} x {x}"
                );
            }
        }
        let anything =
            (0..i64::from(config.kv_size())).any(|x| pixel(69, x).is_some_and(|rgb| rgb != [0; 3]));
        assert!(anything, "the last position was written");
    }
}
