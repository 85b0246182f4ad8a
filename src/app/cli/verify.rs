//! `pixel-llm verify MODEL`: every tile against its checksum, on every core.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::numbers::{human_bytes, thousands};
use super::output::{Exit, Output, progress_bytes};
use crate::assets::Assets;
use crate::model::verify::{DamagedTile, verify};

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0: all is sound. 1: some tile is damaged; each is named with its tensor, rows and columns, and its place on the
map. 2: the head itself is damaged or the file is no model, so that tiles cannot be told apart.

Examples:
  pixel-llm verify model.pxi
  pixel-llm verify model.pxi --json | jq -r '.damaged[].tensor'"
)]
pub struct VerifyArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    model: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    file: String,
    tiles: u32,
    bytes: u64,
    seconds: f64,
    sound: bool,
    damaged: Vec<DamagedTile>,
}

/// Runs `verify`.
///
/// # Errors
/// The model cannot be opened.
pub fn run(args: VerifyArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    let model = super::open_model(args.model.as_deref(), assets)?;
    let bytes = model.header().sections.tiles_size;
    let bar = progress_bytes("verifying", Some(bytes));
    let start = Instant::now();
    let damaged = verify(&model, &|done| bar.set_position(done));
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let file = model.path().display().to_string();
    let report =
        Report { file, tiles: model.tile_count(), bytes, seconds, sound: damaged.is_empty(), damaged };
    let exit = if report.sound { Exit::Ok } else { Exit::FoundBad };
    out.print(&report, human)?;
    Ok(exit)
}

fn human(report: &Report) -> String {
    let mut text = String::new();
    for tile in &report.damaged {
        let [row, row_end] = tile.rows;
        let [column, column_end] = tile.columns;
        let place = tile.map.first().map_or(String::new(), |rect| format!(", map {}, {}", rect.x, rect.y));
        let _ = writeln!(
            text,
            "damaged: tile {} of {} (rows {row}..{row_end}, columns {column}..{column_end}), file byte {}{place}",
            tile.tile, tile.tensor, tile.file_offset,
        );
    }
    let rate = report.bytes as f64 / 1e6 / report.seconds.max(1e-9);
    let state = match report.damaged.len() {
        0 => "sound".to_owned(),
        bad => format!("{bad} damaged"),
    };
    let (tiles, bytes) = (thousands(u64::from(report.tiles)), human_bytes(report.bytes));
    let _ = write!(
        text,
        "{}: {state}: {tiles} tiles, {bytes} in {:.2} s ({rate:.0} MB/s)",
        report.file, report.seconds
    );
    text
}
