//! `pixel-llm map demo`: text at four places of the plane, the farthest more than 2^41 pixels
//! apart, read back, and what is around a pixel of each.

use super::Maps;
use super::look::{NeighbourReport, around, grid};
use crate::app::cli::output::{Exit, Output};
use crate::map::{Point, Rect};
use serde::Serialize;
use std::{fmt::Write, path::Path};

/// The text is written in rectangles of this width in pixels.
const WIDTH: u64 = 100;
const FAR: i64 = 1 << 40;
/// Where the demo is repeated.
const ORIGINS: [Point; 3] = [Point::new(0, 0), Point::new(FAR, FAR), Point::new(-FAR, -FAR)];
/// Where it writes, from each of those.
const OFFSETS: [(i64, i64); 2] = [(0, 0), (10_000, 20_000)];
/// Where it looks around.
const LOOK_AT: (i64, i64) = (5, 0);

#[derive(Serialize)]
struct MapDemoReport {
    map: String,
    written: Vec<WrittenReport>,
    around: Vec<AroundReport>,
    tiles: usize,
}

#[derive(Serialize)]
struct WrittenReport {
    x: i64,
    y: i64,
    bytes: usize,
    text: String,
}

#[derive(Serialize)]
struct AroundReport {
    x: i64,
    y: i64,
    neighbours: Vec<Option<NeighbourReport>>,
}

fn text_at(point: Point) -> String {
    format!("Hello, infinite map! This was written at {point}. ").repeat(40)
}

pub(super) fn run(maps: &Maps, folder: &Path, out: &mut Output) -> anyhow::Result<Exit> {
    let places: Vec<_> = ORIGINS
        .iter()
        .flat_map(|origin| OFFSETS.map(|(dx, dy)| Point::new(origin.x + dx, origin.y + dy)))
        .map(|point| (point, text_at(point)))
        .collect();
    let rect_of = |point: Point, text: &str| {
        Rect::new(point.x, point.y, WIDTH, (text.len() as u64).div_ceil(3).div_ceil(WIDTH))
    };
    let mut map = maps.write(folder)?;
    for (point, text) in &places {
        map.write_bytes(&rect_of(*point, text)?, 0, text.as_bytes())?;
    }
    map.close()?;

    // Opened anew, so that all of it is read from the disk.
    let map = maps.read(folder)?;
    let mut written = Vec::new();
    for (point, text) in &places {
        let bytes = map.read_bytes(&rect_of(*point, text)?, 0, text.len() as u64)?;
        anyhow::ensure!(
            bytes == text.as_bytes(),
            "what was read at {point} is not what was written"
        );
        // One of the 40 times that it is written.
        let text = String::from_utf8_lossy(&bytes[..bytes.len() / 40]).trim_end().to_owned();
        written.push(WrittenReport { x: point.x, y: point.y, bytes: bytes.len(), text });
    }
    let mut looks = Vec::new();
    for origin in ORIGINS {
        let point = Point::new(origin.x + LOOK_AT.0, origin.y + LOOK_AT.1);
        looks.push(AroundReport { x: point.x, y: point.y, neighbours: around(&map, point)? });
    }
    let tiles = map.stats().tiles;
    let report = MapDemoReport { map: folder.display().to_string(), written, around: looks, tiles };
    out.print(&report, human)?;
    Ok(Exit::Ok)
}

fn human(report: &MapDemoReport) -> String {
    let mut text = format!("{}: {} tiles of the whole plane exist\n", report.map, report.tiles);
    for WrittenReport { x, y, bytes, text: line } in &report.written {
        let _ = writeln!(text, "  read back     {bytes} bytes at ({x}, {y}): {line}");
    }
    for AroundReport { x, y, neighbours } in &report.around {
        let _ = writeln!(text, "  around ({x}, {y})");
        text.push_str(&grid(neighbours, "    "));
    }
    text
}
