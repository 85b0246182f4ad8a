//! The infinite map against a plain hash map: whatever is done, both say the same, also after the
//! map was closed and opened again.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use pixel_llm::map::{
    Access, InfiniteMap, Kind, Kinds, MapOptions, Pixel, Point, Rect, TilePos, TileSize,
};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

/// The plainest map there is: pixels by place, and which tiles were written.
#[derive(Default)]
struct Model {
    pixels: HashMap<(i64, i64), Pixel>,
    tiles: HashSet<TilePos>,
}

impl Model {
    fn set(&mut self, size: TileSize, point: Point, pixel: Pixel) {
        self.tiles.insert(size.tile_of(point));
        self.pixels.insert((point.x, point.y), pixel);
    }

    fn get(&self, size: TileSize, point: Point) -> Option<Pixel> {
        let pixel = self.pixels.get(&(point.x, point.y)).copied().unwrap_or([0; 3]);
        self.tiles.contains(&size.tile_of(point)).then_some(pixel)
    }

    fn remove_tile(&mut self, size: TileSize, tile: TilePos) -> bool {
        self.pixels.retain(|(x, y), _| size.tile_of(Point::new(*x, *y)) != tile);
        self.tiles.remove(&tile)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set(Point, Pixel),
    Fill(Rect, Pixel),
    WriteBytes(Rect, u64, Vec<u8>),
    RemoveTile(Point),
    Flush,
    Reopen,
}

/// Coordinates on both sides of the origin, along tile borders, far out and at the plane's edge.
fn coordinate() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -40_i64..40,
        2 => (-3_i64..3, -1_i64..2).prop_map(|(tile, step)| tile * 16 + step),
        1 => (-2_i64..2, -9_i64..9).prop_map(|(far, near)| (far << 40) + near),
        1 => (0_i64..20).prop_map(|from_edge| i64::MIN + from_edge),
        1 => (0_i64..20).prop_map(|from_edge| i64::MAX - 40 - from_edge),
    ]
}

fn point() -> impl Strategy<Value = Point> {
    (coordinate(), coordinate()).prop_map(|(x, y)| Point::new(x, y))
}

fn rect() -> impl Strategy<Value = Rect> {
    (point(), 1_u64..40, 1_u64..40)
        .prop_map(|(point, width, height)| Rect::new(point.x, point.y, width, height).unwrap())
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = (rect(), any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..200));
    prop_oneof![
        6 => (point(), any::<Pixel>()).prop_map(|(point, pixel)| Step::Set(point, pixel)),
        2 => (rect(), any::<Pixel>()).prop_map(|(rect, pixel)| Step::Fill(rect, pixel)),
        3 => bytes.prop_map(|(rect, start, mut bytes)| {
            let all = 3 * (rect.width() * rect.height()) as usize;
            let start = start.index(all);
            bytes.truncate(all - start);
            Step::WriteBytes(rect, start as u64, bytes)
        }),
        2 => point().prop_map(Step::RemoveTile),
        2 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

fn points_of(rect: &Rect) -> impl Iterator<Item = Point> + use<> {
    let rect = *rect;
    (rect.top()..=rect.bottom())
        .flat_map(move |y| (rect.left()..=rect.right()).map(move |x| Point::new(x, y)))
}

fn check(map: &InfiniteMap, model: &Model) {
    let size = map.tile_size();
    let items = map.query(&Rect::PLANE, Kind::PIXELS.into());
    let tiles: HashSet<_> = items.iter().map(|item| size.tile_of(item.rect.corner())).collect();
    assert_eq!(items.len(), tiles.len(), "a tile is on the map twice");
    assert_eq!(tiles, model.tiles);
    for tile in &model.tiles {
        let rect = size.rect_of(*tile).unwrap();
        let patch = map.read_pixels(&rect).unwrap();
        assert!(patch.unallocated.is_empty());
        for point in points_of(&rect) {
            assert_eq!(patch.pixel(point), model.get(size, point), "{point}");
        }
        let expected =
            size.neighbours(*tile).map(|tile| tile.filter(|tile| model.tiles.contains(tile)));
        assert_eq!(map.tile_neighbours(*tile), expected);
    }
    assert!(map.verify(&|_| ()).problems.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_map_says_what_a_hash_map_says(
        steps in prop::collection::vec(step(), 1..60),
        probes in prop::collection::vec((point(), rect()), 1..10),
        side in prop_oneof![Just(8_u64), Just(16)],
        unsaved_in_bytes in prop_oneof![Just(1_usize), Just(4000), Just(1 << 20)],
        cache_in_bytes in prop_oneof![Just(0_usize), Just(1000), Just(1 << 20)],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("map");
        let size = TileSize::new(side).unwrap();
        let options = MapOptions { tile_size: Some(size), cache_in_bytes, unsaved_in_bytes };
        let mut map = InfiniteMap::create(&folder, &options).unwrap();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Set(point, pixel) => {
                    map.set_pixel(point, pixel).unwrap();
                    model.set(size, point, pixel);
                }
                Step::Fill(rect, pixel) => {
                    map.fill(&rect, pixel).unwrap();
                    points_of(&rect).for_each(|point| model.set(size, point, pixel));
                }
                Step::WriteBytes(rect, start, bytes) => {
                    map.write_bytes(&rect, start, &bytes).unwrap();
                    for (byte, value) in (start..).zip(&bytes) {
                        let (pixel, channel) = (byte / 3, byte % 3);
                        let width = rect.width() as u64;
                        let (row, column) = (pixel / width, pixel % width);
                        let point = Point::new(
                            rect.left().checked_add_unsigned(column).unwrap(),
                            rect.top().checked_add_unsigned(row).unwrap(),
                        );
                        let mut pixel = model.get(size, point).unwrap_or_default();
                        pixel[channel as usize] = *value;
                        model.set(size, point, pixel);
                    }
                    let read = map.read_bytes(&rect, start, bytes.len() as u64).unwrap();
                    prop_assert_eq!(read, bytes);
                }
                Step::RemoveTile(point) => {
                    let tile = size.tile_of(point);
                    prop_assert_eq!(map.remove_tile(tile).unwrap(), model.remove_tile(size, tile));
                }
                Step::Flush => map.flush().unwrap(),
                Step::Reopen => {
                    map.close().unwrap();
                    map = InfiniteMap::open(&folder, Access::Write, &options).unwrap();
                }
            }
        }
        check(&map, &model);
        for (point, rect) in &probes {
            prop_assert_eq!(map.pixel(*point).unwrap(), model.get(size, *point));
            let patch = map.read_pixels(rect).unwrap();
            for point in points_of(rect) {
                prop_assert_eq!(patch.pixel(point), model.get(size, point));
            }
        }
        map.close().unwrap();
        let map = InfiniteMap::open(&folder, Access::Read, &options).unwrap();
        prop_assert!(map.problems().is_empty());
        check(&map, &model);
    }
}

fn demo_at(map: &mut InfiniteMap, origin: Point) {
    let place = |dx, dy| Rect::new(origin.x + dx, origin.y + dy, 100, 10).unwrap();
    let text = |dx: i64| format!("written at {dx} from {origin}. ").repeat(20).into_bytes();
    for (dx, dy) in [(0, 0), (10_000, 20_000)] {
        map.write_bytes(&place(dx, dy), 0, &text(dx)).unwrap();
    }
    map.flush().unwrap();
    for (dx, dy) in [(0, 0), (10_000, 20_000)] {
        let text = text(dx);
        assert_eq!(map.read_bytes(&place(dx, dy), 0, text.len() as u64).unwrap(), text);
    }
    let around = map.neighbours(Point::new(origin.x + 5, origin.y)).unwrap();
    let text = text(0);
    let pixel = |index: usize| Some([text[3 * index], text[3 * index + 1], text[3 * index + 2]]);
    let found = around.map(|neighbour| neighbour.unwrap().pixel);
    // Nothing was written above; the text goes on to the left, to the right and in the row below.
    assert_eq!(found, [None, None, None, pixel(4), pixel(6), pixel(104), pixel(105), pixel(106)]);
}

#[test]
fn data_near_and_far_comes_back_and_has_neighbours() {
    let mut map = InfiniteMap::in_memory(TileSize::default());
    let folder = tempfile::tempdir().unwrap();
    let mut stored =
        InfiniteMap::create(folder.path().join("map"), &MapOptions::default()).unwrap();
    let far = 1 << 40;
    for (x, y) in [(0, 0), (far, far), (-far, -far), (far, -far), (-far, far)] {
        demo_at(&mut map, Point::new(x, y));
        demo_at(&mut stored, Point::new(x, y));
    }
    let (tiles, depth) = (stored.stats().tiles, stored.stats().index.depth);
    // Two places each, and each in two or four tiles across.
    assert!((10 * 2..=10 * 6).contains(&tiles), "{tiles}");
    assert!(depth <= 8, "{depth}");
    let nearest = stored.nearest(Point::new(far + 3, far), 1, Kinds::ALL);
    assert_eq!(nearest[0].distance.in_pixels(), 0.0);
}

#[test]
fn threads_may_share_a_map() {
    fn shared<T: Send + Sync>(value: T) -> T {
        value
    }
    let mut map = shared(InfiniteMap::in_memory(TileSize::default()));
    map.fill(&Rect::new(-100, -100, 200, 200).unwrap(), [4; 3]).unwrap();
    std::thread::scope(|scope| {
        for index in -100..100 {
            let map = &map;
            scope.spawn(move || {
                assert_eq!(map.pixel(Point::new(index, -index - 1)).unwrap(), Some([4; 3]))
            });
        }
    });
}

#[test]
fn the_edge_of_the_plane_can_be_written() {
    let mut map = InfiniteMap::in_memory(TileSize::default());
    let corners =
        [(i64::MIN, i64::MIN), (i64::MAX, i64::MIN), (i64::MIN, i64::MAX), (i64::MAX, i64::MAX)];
    for (index, (x, y)) in corners.into_iter().enumerate() {
        map.set_pixel(Point::new(x, y), [index as u8; 3]).unwrap();
        assert_eq!(map.neighbours(Point::new(x, y)).unwrap().iter().flatten().count(), 3);
    }
    let last = Rect::new(i64::MAX - 1, i64::MAX - 1, 2, 2).unwrap();
    map.write_bytes(&last, 0, &[9; 12]).unwrap();
    assert_eq!(map.pixel(Point::new(i64::MAX, i64::MAX)).unwrap(), Some([9; 3]));
    assert_eq!(map.query(&Rect::PLANE, Kinds::ALL).len(), 4);
    assert!(map.read_pixels(&Rect::PLANE).is_err());
}

#[test]
fn unallocated_is_not_black() {
    let mut map = InfiniteMap::in_memory(TileSize::default());
    let black = Point::new(-1, -1);
    map.set_pixel(black, [0; 3]).unwrap();
    assert_eq!(map.pixel(black).unwrap(), Some([0; 3]));
    assert_eq!(map.pixel(Point::new(-2, -2)).unwrap(), Some([0; 3]));
    assert_eq!(map.pixel(Point::new(0, 0)).unwrap(), None);
    let rect = Rect::new(-2, -2, 4, 4).unwrap();
    assert_eq!(map.read_pixels(&rect).unwrap().unallocated.len(), 3);
    let refused = map.read_bytes(&rect, 0, 48).unwrap_err();
    assert_eq!(refused.to_string(), "nothing was ever written at (0, -2)");
    map.allocate_tiles(&rect).unwrap();
    assert_eq!(map.read_bytes(&rect, 0, 48).unwrap(), [0; 48]);
    assert!(map.remove_tile(TilePos::new(0, 0)).unwrap());
    assert_eq!(map.pixel(Point::new(0, 0)).unwrap(), None);
}

#[test]
fn regions_are_kept_and_given_up_with_their_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("map");
    let mut map = InfiniteMap::create(&folder, &MapOptions::default()).unwrap();
    map.set_pixel(Point::new(3, 3), [7; 3]).unwrap();
    let payloads: Vec<Vec<u8>> =
        (0..20_usize).map(|index| vec![index as u8; index * 3001]).collect();
    for (index, payload) in payloads.iter().enumerate() {
        map.write_region(&format!("region {index}"), payload).unwrap();
    }
    let reserved = map.reserve("far", Rect::new(-1 << 40, 5, 1000, 1000).unwrap()).unwrap();
    assert!(map.reserve("again", reserved.rect).is_err());
    assert!(map.write_region("region 1", &[0; 20_000]).is_err());
    map.close().unwrap();

    let mut map = InfiniteMap::open(&folder, Access::Write, &MapOptions::default()).unwrap();
    assert_eq!(map.regions().len(), 21);
    assert_eq!(map.region("far"), Some(&reserved));
    for (index, payload) in payloads.iter().enumerate() {
        assert_eq!(&map.read_region(&format!("region {index}")).unwrap(), payload);
    }
    assert_eq!(map.pixel(Point::new(3, 3)).unwrap(), Some([7; 3]));
    let tiles = map.stats().tiles;
    let region = map.remove_region("region 9").unwrap();
    assert!(map.stats().tiles < tiles);
    assert!(map.query(&region.rect, Kinds::ALL).is_empty());
    assert!(map.remove_region("region 9").is_err());
    // The room is given again.
    let (width, height) = (region.rect.width() as u64, region.rect.height() as u64);
    assert_eq!(map.allocate("new", width, height).unwrap().rect.corner(), region.rect.corner());
    map.close().unwrap();
    let map = InfiniteMap::open(&folder, Access::Read, &MapOptions::default()).unwrap();
    assert!(map.region("region 9").is_none() && map.region("new").is_some());
}

#[test]
fn many_flushes_leave_few_packs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("map");
    let options =
        MapOptions { tile_size: Some(TileSize::new(8).unwrap()), ..MapOptions::default() };
    let mut map = InfiniteMap::create(&folder, &options).unwrap();
    let mut most = 0;
    for index in 0..200_i64 {
        map.set_pixel(Point::new(index % 150 * 8, 0), [index as u8; 3]).unwrap();
        map.flush().unwrap();
        most = most.max(map.stats().packs);
    }
    assert!(most <= 8, "{most} packs");
    let stats = map.stats();
    assert_eq!((stats.tiles, stats.unsaved_tiles, stats.generation), (150, 0, 201));
    // Two files for each pack, two indexes and the lock.
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, 2 * stats.packs + 3);
    assert!(map.verify(&|_| ()).problems.is_empty());
    // An empty flush writes nothing.
    map.flush().unwrap();
    assert_eq!(map.generation(), 201);
}

#[test]
fn what_was_not_flushed_is_no_part_of_the_map() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("map");
    let size = TileSize::new(8).unwrap();
    let options = MapOptions {
        tile_size: Some(size),
        unsaved_in_bytes: 4 * size.tile_len(),
        ..MapOptions::default()
    };
    let mut map = InfiniteMap::create(&folder, &options).unwrap();
    map.set_pixel(Point::default(), [1; 3]).unwrap();
    map.flush().unwrap();
    let names = || {
        let mut names: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    for x in 0..100 {
        map.set_pixel(Point::new(x * 8, 0), [2; 3]).unwrap();
    }
    // The bound on memory made it write early.
    assert!(map.stats().unsaved_tiles <= 4);
    assert!(names().len() > before.len());
    assert_eq!(map.pixel(Point::new(80, 0)).unwrap(), Some([2; 3]));
    drop(map);
    assert_eq!(names(), before);
    let map = InfiniteMap::open(&folder, Access::Read, &options).unwrap();
    assert_eq!(map.pixel(Point::default()).unwrap(), Some([1; 3]));
    assert_eq!(map.stats().tiles, 1);
}

#[test]
fn model_tiles_and_pixels_share_one_index() {
    use pixel_llm::map::Item;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("map");
    let mut map = InfiniteMap::create(&folder, &MapOptions::default()).unwrap();
    let district = map.allocate("model", 4096, 640).unwrap();
    let tile = |number: u64| {
        let rect = Rect::new(
            district.rect.left() + 2048 * (number as i64 % 2),
            64 * (number as i64 / 2),
            2048,
            64,
        );
        Item { rect: rect.unwrap(), kind: Kind::MODEL_TILE, number }
    };
    (0..20).for_each(|number| map.place(tile(number)).unwrap());
    map.write_pixels(&Rect::new(0, 0, 2, 1).unwrap(), &[1, 2, 3, 4, 5, 6]).unwrap();
    let here = map.query(&Rect::new(1, 0, 1, 1).unwrap(), Kinds::ALL);
    let mut kinds: Vec<_> = here.iter().map(|item| item.kind).collect();
    kinds.sort();
    assert_eq!(kinds, [Kind::PIXELS, Kind::REGION, Kind::MODEL_TILE]);
    assert_eq!(map.query(&district.rect, Kind::MODEL_TILE.into()).len(), 20);
    assert_eq!(
        map.region_of(here.iter().find(|item| item.kind == Kind::REGION).unwrap()),
        Some(&district)
    );
    assert!(map.place(Item { kind: Kind::PIXELS, ..tile(0) }).is_err());
    assert!(map.unplace(&tile(3)) && !map.unplace(&tile(3)));
    map.close().unwrap();
    let map = InfiniteMap::open(&folder, Access::Read, &MapOptions::default()).unwrap();
    assert!(map.query(&Rect::PLANE, Kind::MODEL_TILE.into()).is_empty());
    assert_eq!(map.region("model"), Some(&district));
}
