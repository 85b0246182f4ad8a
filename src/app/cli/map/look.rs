//! The commands that only look: `get`, `near`, `query`, `stats` and `verify`.

use super::Maps;
use super::arguments::{Numbers, colour};
use crate::app::cli::numbers::{human_bytes, thousands};
use crate::app::cli::output::{Exit, Output, progress_bytes};
use crate::app::cli::table::{Align, Table};
use crate::map::{
    InfiniteMap, Item, Kinds, MapError, MapStats, Pixel, Point, Ray, Rect, TilePos, Verified,
};
use serde::Serialize;
use std::{fmt::Write, path::Path};

/// What is said where nothing was ever written.
const UNALLOCATED: &str = "unallocated";

#[derive(Serialize)]
pub(super) struct NeighbourReport {
    x: i64,
    y: i64,
    /// Null where nothing was ever written.
    colour: Option<String>,
}

#[derive(Serialize)]
struct PixelReport {
    x: i64,
    y: i64,
    colour: Option<String>,
    rgb: Option<Pixel>,
    tile: TilePos,
}

pub(super) fn get(
    maps: &Maps,
    folder: &Path,
    at: Numbers<2>,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let point = at.point()?;
    let map = maps.read(folder)?;
    let rgb = map.pixel(point)?;
    let tile = map.tile_size().tile_of(point);
    let report = PixelReport { x: point.x, y: point.y, colour: rgb.map(colour), rgb, tile };
    out.print(&report, |report| report.colour.clone().unwrap_or_else(|| UNALLOCATED.to_owned()))?;
    Ok(Exit::Ok)
}

/// The eight pixels around a pixel; null beyond the plane's edge.
pub(super) fn around(
    map: &InfiniteMap,
    point: Point,
) -> Result<Vec<Option<NeighbourReport>>, MapError> {
    let report = |neighbour: Option<crate::map::Neighbour>| {
        neighbour.map(|neighbour| NeighbourReport {
            x: neighbour.point.x,
            y: neighbour.point.y,
            colour: neighbour.pixel.map(colour),
        })
    };
    Ok(map.neighbours(point)?.map(report).into())
}

/// The eight neighbours as they lie, with a star in the middle.
pub(super) fn grid(neighbours: &[Option<NeighbourReport>], indent: &str) -> String {
    let mut cells: Vec<_> = neighbours
        .iter()
        .map(|neighbour| match neighbour {
            None => "edge",
            Some(NeighbourReport { colour: None, .. }) => UNALLOCATED,
            Some(NeighbourReport { colour: Some(colour), .. }) => colour,
        })
        .collect();
    cells.insert(cells.len() / 2, "*");
    let mut text = String::new();
    for row in cells.chunks(3) {
        let line: String = row.iter().map(|cell| format!("{cell:<13}")).collect();
        let _ = writeln!(text, "{indent}{}", line.trim_end());
    }
    text
}

#[derive(Serialize)]
struct ItemReport {
    #[serde(flatten)]
    item: Item,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// From the point, in pixels, or along the ray, in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<f64>,
}

impl ItemReport {
    fn new(map: &InfiniteMap, item: Item, distance: Option<f64>) -> Self {
        let name = map.region_of(&item).map(|region| region.name.clone());
        Self { item, name, distance }
    }
}

fn table(items: &[ItemReport]) -> String {
    let mut table = Table::new([
        ("KIND", Align::Left),
        ("X", Align::Right),
        ("Y", Align::Right),
        ("WIDTH", Align::Right),
        ("HEIGHT", Align::Right),
        ("AWAY", Align::Right),
        ("NAME", Align::Left),
    ]);
    for ItemReport { item, name, distance } in items {
        let rect = &item.rect;
        table.row([
            item.kind.to_string(),
            rect.left().to_string(),
            rect.top().to_string(),
            rect.width().to_string(),
            rect.height().to_string(),
            distance.map(|distance| format!("{distance:.1}")).unwrap_or_default(),
            name.clone().unwrap_or_default(),
        ]);
    }
    table.render()
}

#[derive(Serialize)]
struct NearReport {
    x: i64,
    y: i64,
    neighbours: Vec<Option<NeighbourReport>>,
    tile: TilePos,
    tile_neighbours: Vec<TilePos>,
    nearest: Vec<ItemReport>,
}

pub(super) fn near(
    maps: &Maps,
    folder: &Path,
    at: Numbers<2>,
    count: usize,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let point = at.point()?;
    let map = maps.read(folder)?;
    let tile = map.tile_size().tile_of(point);
    let nearest = map.nearest(point, count, Kinds::ALL);
    let report = NearReport {
        x: point.x,
        y: point.y,
        neighbours: around(&map, point)?,
        tile,
        tile_neighbours: map.tile_neighbours(tile).into_iter().flatten().collect(),
        nearest: nearest
            .into_iter()
            .map(|near| ItemReport::new(&map, near.item, Some(near.distance.in_pixels())))
            .collect(),
    };
    out.print(&report, |report| {
        let tiles: Vec<_> = report.tile_neighbours.iter().map(TilePos::to_string).collect();
        let tiles = if tiles.is_empty() { "none".to_owned() } else { tiles.join(" ") };
        format!(
            "around ({}, {})\n{}tiles around {}: {tiles}\nnearest\n{}",
            report.x,
            report.y,
            grid(&report.neighbours, "  "),
            report.tile,
            table(&report.nearest),
        )
    })?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct QueryReport {
    found: usize,
    items: Vec<ItemReport>,
}

pub(super) fn query(
    maps: &Maps,
    folder: &Path,
    rect: Option<Numbers<4>>,
    ray: Option<Numbers<4>>,
    limit: usize,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let rect = rect.map_or(Ok(Rect::PLANE), Numbers::rect)?;
    let ray = match ray.map(Numbers::coordinates).transpose()? {
        Some([x, y, dx, dy]) => Some(Ray::new(Point::new(x, y), dx, dy)?),
        None => None,
    };
    let map = maps.read(folder)?;
    let (found, items) = match ray {
        Some(ray) => {
            let crossed = map.ray(&ray, limit, Kinds::ALL);
            let report = |(crossing, item): (crate::map::Crossing, _)| {
                ItemReport::new(&map, item, Some(crossing.in_steps()))
            };
            (crossed.len(), crossed.into_iter().map(report).collect())
        }
        None => {
            let mut items = map.query(&rect, Kinds::ALL);
            // By rows, as people read; a quadtree gives one quarter after the other.
            items.sort_by_key(|item| (item.rect.top(), item.rect.left(), item.kind));
            (
                items.len(),
                items
                    .into_iter()
                    .take(limit)
                    .map(|item| ItemReport::new(&map, item, None))
                    .collect(),
            )
        }
    };
    let report = QueryReport { found, items };
    out.print(&report, |report| {
        let mut text = table(&report.items);
        if report.found > report.items.len() {
            let rest = thousands((report.found - report.items.len()) as u64);
            let _ = writeln!(text, "and {rest} more; see --limit");
        }
        text
    })?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct StatsReport {
    map: String,
    #[serde(flatten)]
    stats: MapStats,
    named: Vec<crate::map::Region>,
}

pub(super) fn stats(maps: &Maps, folder: &Path, out: &mut Output) -> anyhow::Result<Exit> {
    let map = maps.read(folder)?;
    let report = StatsReport {
        map: folder.display().to_string(),
        stats: map.stats(),
        named: map.regions().cloned().collect(),
    };
    out.print(&report, |StatsReport { map, stats, named }| {
        let count = |count: usize| thousands(count as u64);
        let bounds = stats.bounds.map_or("nothing".to_owned(), |bounds| bounds.to_string());
        let mut text = format!(
            "{map}\n  tiles       {} of {} x {} pixels\n  within      {bounds}\n  \
             packs       {}, {}, {} tiles outdated\n  flushes     {}\n  \
             index       {} nodes, depth {}, {}\n  problems    {}\n  regions     {}\n",
            count(stats.tiles),
            stats.tile_size,
            stats.tile_size,
            stats.packs,
            human_bytes(stats.stored_in_bytes),
            thousands(stats.outdated_tiles),
            stats.generation,
            count(stats.index.nodes),
            stats.index.depth,
            human_bytes(stats.index.size_in_bytes as u64),
            stats.problems,
            stats.regions,
        );
        for region in named {
            let bytes = thousands(region.length);
            let _ = writeln!(text, "    {}: {}, {bytes} bytes", region.name, region.rect);
        }
        text
    })?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct VerifyReport {
    map: String,
    ok: bool,
    #[serde(flatten)]
    verified: Verified,
}

pub(super) fn verify(maps: &Maps, folder: &Path, out: &mut Output) -> anyhow::Result<Exit> {
    // Every problem is in the report, so none is said as a warning.
    let map = InfiniteMap::open(folder, crate::map::Access::Read, &maps.options);
    let map = match map {
        Ok(map) => map,
        Err(error) if error.is_damage() => {
            let problem = crate::map::MapProblem { tile: None, problem: error.to_string() };
            let verified = Verified { problems: vec![problem], ..Verified::default() };
            return tell(folder, verified, out);
        }
        Err(error) => return Err(error.into()),
    };
    let bar = progress_bytes("checking", Some(map.bytes_to_verify()));
    let verified = map.verify(&|hashed| bar.set_position(hashed));
    bar.finish_and_clear();
    tell(folder, verified, out)
}

fn tell(folder: &Path, verified: Verified, out: &mut Output) -> anyhow::Result<Exit> {
    let ok = verified.problems.is_empty();
    let report = VerifyReport { map: folder.display().to_string(), ok, verified };
    out.print(&report, |VerifyReport { map, verified, .. }| {
        let mut text: String = verified
            .problems
            .iter()
            .map(|problem| format!("damaged: {}\n", problem.problem))
            .collect();
        let state = match verified.problems.len() {
            0 => "sound".to_owned(),
            count => format!("{count} found"),
        };
        let (slots, bytes) = (thousands(verified.slots), human_bytes(verified.bytes));
        let _ = write!(text, "{map}: {state}: {slots} tiles of pixels, {bytes}");
        text
    })?;
    Ok(if ok { Exit::Ok } else { Exit::FoundBad })
}
