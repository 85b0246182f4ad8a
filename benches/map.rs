//! The infinite map with a million tiles: what lies in a rectangle of 16 tiles, what is nearest,
//! and a tile that is in the cache; the same questions beside them on a plain list and on the
//! `rstar` crate's R*-tree.
//!
//! `benches/map_chart` draws docs/map-queries.svg from what this measures.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pixel_llm::map::{
    Distance, InfiniteMap, Item, Kind, Kinds, MapOptions, Point, Quadtree, Ray, Rect, Tile,
    TilePos, TileSize,
};
use rstar::{AABB, RTree, primitives::Rectangle};
use std::{hint::black_box, time::Duration};

const SIDES: [i64; 4] = [32, 100, 316, 1000];
/// Far from the origin, where floats would fail.
const ORIGIN: i64 = 1 << 40;
const NEAREST: usize = 8;

/// Squares of tiles, `side` x `side` of them.
fn items(side: i64) -> Vec<Item> {
    let size = TileSize::default();
    let tile = |x, y| size.rect_of(TilePos::new(x, y)).expect("the tile is on the plane");
    (0..side * side)
        .map(|index| (ORIGIN / 64 + index % side, index / side - side / 2))
        .map(|(x, y)| Item { rect: tile(x, y), kind: Kind::PIXELS, number: 0 })
        .collect()
}

/// Points all over the square, one after another.
struct Walk {
    span: i64,
    step: i64,
}

impl Walk {
    fn new(side: i64) -> Self {
        // Room for a rectangle of four tiles a side.
        Self { span: (side - 5) * 64, step: 0 }
    }

    fn next(&mut self) -> Point {
        self.step += 1;
        let along = |prime: i64| self.step.wrapping_mul(prime).rem_euclid(self.span);
        Point::new(ORIGIN + along(7_919), along(104_729) - (self.span + 320) / 2)
    }

    /// A rectangle that touches 4 x 4 tiles.
    fn next_rect(&mut self) -> Rect {
        let Point { x, y } = self.next();
        Rect::new(x & !63, y & !63, 256, 256).expect("the rectangle is on the plane")
    }
}

/// The three answers to a question, for maps of four sizes.
fn compare(criterion: &mut Criterion) {
    for side in SIDES {
        let list = items(side);
        let count = list.len();
        let mut tree = Quadtree::default();
        list.iter().for_each(|item| tree.insert(*item).expect("the item can be kept"));
        let boxes = list.iter().map(|Item { rect, .. }| {
            Rectangle::from_corners([rect.left(), rect.top()], [rect.right(), rect.bottom()])
        });
        let rstar = RTree::bulk_load(boxes.collect());

        let mut group = criterion.benchmark_group("map_region");
        group
            .sample_size(20)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        let mut walk = Walk::new(side);
        group.bench_function(BenchmarkId::new("quadtree", count), |bencher| {
            bencher.iter(|| {
                let found = tree.region(&walk.next_rect(), Kinds::ALL);
                assert_eq!(found.len(), 16);
                found
            });
        });
        let mut walk = Walk::new(side);
        group.bench_function(BenchmarkId::new("rstar", count), |bencher| {
            bencher.iter(|| {
                let rect = walk.next_rect();
                let envelope =
                    AABB::from_corners([rect.left(), rect.top()], [rect.right(), rect.bottom()]);
                let found: Vec<_> =
                    rstar.locate_in_envelope_intersecting(envelope).copied().collect();
                assert_eq!(found.len(), 16);
                found
            });
        });
        let mut walk = Walk::new(side);
        group.bench_function(BenchmarkId::new("linear", count), |bencher| {
            bencher.iter(|| {
                let rect = walk.next_rect();
                let found: Vec<_> =
                    list.iter().filter(|item| item.rect.overlaps(&rect)).copied().collect();
                assert_eq!(found.len(), 16);
                found
            });
        });
        group.finish();

        let mut group = criterion.benchmark_group("map_nearest");
        group
            .sample_size(20)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        let mut walk = Walk::new(side);
        group.bench_function(BenchmarkId::new("quadtree", count), |bencher| {
            bencher.iter(|| tree.nearest(walk.next(), NEAREST, Kinds::ALL));
        });
        let mut walk = Walk::new(side);
        group.bench_function(BenchmarkId::new("rstar", count), |bencher| {
            bencher.iter(|| {
                let Point { x, y } = walk.next();
                rstar.nearest_neighbor_iter([x, y]).take(NEAREST).copied().collect::<Vec<_>>()
            });
        });
        let mut walk = Walk::new(side);
        group.bench_function(BenchmarkId::new("linear", count), |bencher| {
            bencher.iter(|| {
                let point = walk.next();
                let mut all: Vec<_> = (0..)
                    .zip(&list)
                    .map(|(index, item)| (Distance::between(point, &item.rect), index))
                    .collect();
                all.select_nth_unstable(NEAREST - 1);
                all.truncate(NEAREST);
                all.sort_unstable();
                all.into_iter().map(|(_, index): (_, usize)| list[index]).collect::<Vec<_>>()
            });
        });
        group.finish();
    }
}

/// The whole map, stored in a folder.
fn million(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let options = MapOptions { unsaved_in_bytes: 512 << 20, ..MapOptions::default() };
    let mut map =
        InfiniteMap::create(folder.path().join("map"), &options).expect("a map can be made");
    let size = map.tile_size();
    let side = 1000;
    let tiles: Vec<_> = items(side).iter().map(|item| size.tile_of(item.rect.corner())).collect();
    for (index, tile) in tiles.iter().enumerate() {
        // A thousand different tiles: equal ones are stored once in a pack, so that this takes 1
        // and not 12 GB.
        let colour = [(index % 250) as u8, (index / 250 % 4) as u8, 1];
        map.put_tile(*tile, Tile::filled(size, colour)).expect("the tile can be put");
    }
    map.flush().expect("the map can be flushed");
    let stats = map.stats();
    assert_eq!(stats.tiles, 1_000_000);
    eprintln!(
        "a million tiles: {} packs, {} bytes stored, {:?}",
        stats.packs, stats.stored_in_bytes, stats.index
    );

    let mut group = criterion.benchmark_group("map/1,000,000 tiles");
    let mut walk = Walk::new(side);
    group.bench_function("region of 16 tiles", |bencher| {
        bencher.iter(|| {
            let found = map.query(&walk.next_rect(), Kinds::ALL);
            assert_eq!(found.len(), 16);
            found
        });
    });
    let mut walk = Walk::new(side);
    group.bench_function("eight neighbours", |bencher| {
        bencher.iter(|| map.tile_neighbours(size.tile_of(walk.next())));
    });
    let mut walk = Walk::new(side);
    group.bench_function("nearest 8", |bencher| {
        bencher.iter(|| map.nearest(walk.next(), NEAREST, Kinds::ALL))
    });
    let mut walk = Walk::new(side);
    group.bench_function("ray, first 16", |bencher| {
        bencher.iter(|| {
            let ray = Ray::new(walk.next(), 3, -1).expect("the ray points somewhere");
            map.ray(&ray, 16, Kinds::ALL)
        });
    });
    // As many as fit in the cache, far apart in the index.
    let cached: Vec<_> = tiles.iter().step_by(250).copied().collect();
    cached.iter().for_each(|tile| drop(map.tile(*tile).expect("the tile is sound")));
    let misses = map.stats().cache.misses;
    let mut turn = 0;
    group.bench_function("cached tile", |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % cached.len();
            black_box(map.tile(cached[turn]).expect("the tile is sound"))
        });
    });
    assert_eq!(map.stats().cache.misses, misses);
    let mut turn = 0;
    group.bench_function("tile from the disk's cache", |bencher| {
        bencher.iter(|| {
            turn = (turn + 7_919) % tiles.len();
            black_box(map.tile(tiles[turn]).expect("the tile is sound"))
        });
    });
    group.finish();

    map.close().expect("the map can be closed");
    let mut group = criterion.benchmark_group("map/1,000,000 tiles");
    group.sample_size(10);
    group.bench_function("open", |bencher| {
        let open =
            || InfiniteMap::open(folder.path().join("map"), pixel_llm::map::Access::Read, &options);
        bencher.iter(|| open().expect("the map can be opened"));
    });
    group.finish();
}

criterion_group!(benches, compare, million);
criterion_main!(benches);
