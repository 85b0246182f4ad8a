//! `pixel-llm verify MODEL`: every tile against its checksum, on every core.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::numbers::{human_bytes, thousands};
use super::output::{Exit, Output, print_note, progress_bytes};
use crate::assets::Assets;
use crate::model::convert::{check, work_in_bytes};
use crate::model::gguf::Gguf;
use crate::model::verify::{DamagedTile, verify};
use crate::model::{Cache, resolve};

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0: all is sound. 1: some tile is damaged; each is named with its tensor, rows and columns, and its place on the
map. 2: the head itself is damaged or the file is no model, so that tiles cannot be told apart.

A GGUF file has no checksums: its structure and every weight are read where they are, and a conversion of it that is kept is checked.

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
    if let Some(path) = &args.model
        && resolve::is_gguf(path)?
    {
        return in_place(path, out);
    }
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

/// Reads every weight of a GGUF file, which has no checksums, and what is kept of its conversion.
fn in_place(path: &Path, out: &mut Output) -> anyhow::Result<Exit> {
    let gguf = Gguf::open(path)?;
    let bar = progress_bytes("verifying", Some(work_in_bytes(&gguf) / 2));
    let start = Instant::now();
    let checked = check(&gguf, &|done| bar.set_position(done)).map_err(|error| error.in_file(path))?;
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    if let Some(model) = Cache::default().find(path, &mut |note| print_note(&note.to_string())) {
        let damaged = verify(&model, &|_| ());
        if !damaged.is_empty() {
            let kept = model.path().display();
            print_note(&format!(
                "the conversion {kept} is damaged, not the model; remove it by `pixel-llm cache clear`"
            ));
        }
    }
    let report = Report {
        file: path.display().to_string(),
        tiles: checked.tiles as u32,
        bytes: checked.model_size_in_bytes,
        seconds,
        sound: true,
        damaged: Vec::new(),
    };
    out.print(&report, human)?;
    Ok(Exit::Ok)
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
