//! `pixel-llm verify MODEL`: every tile against its checksum, on every core.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::numbers::{human_bytes, thousands};
use super::output::{Exit, Output, error_line, progress_bytes};
use crate::content::assets::Assets;
use crate::model::convert::{check, work_in_bytes};
use crate::model::gguf::Gguf;
use crate::model::resolve::Kept;
use crate::model::verify::{DamagedTile, verify};
use crate::model::{Cache, resolve};
use crate::words::{counted, one_or_more};

/// Arguments of `verify`: the model, or none for the built-in one.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0: all is sound. 1: some tile is damaged; each is named with its \
        tensor, rows and columns, and its place on the
map. 2: the head itself is damaged or the file is no model, so that tiles cannot be told apart.

A GGUF file has no checksums: its structure and every weight are read where they are. A conversion
of it that is kept is checked too, and told of by itself (`conversion` in JSON): if only that is
damaged, the exit code is 1, the model is sound, and the next run makes the conversion anew. Nothing
is changed.

Examples:
  pixel-llm verify model.pxi
  pixel-llm verify model.pxi --json | jq -r '.damaged[].tensor'"
)]
pub struct VerifyArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    model: Option<PathBuf>,
}

#[derive(Serialize)]
struct ModelVerifyReport {
    file: String,
    tiles: u32,
    bytes: u64,
    seconds: f64,
    sound: bool,
    damaged: Vec<DamagedTile>,
    /// What is kept of a GGUF file.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversion: Option<KeptConversion>,
}

#[derive(Serialize)]
struct KeptConversion {
    file: String,
    sound: bool,
    damaged: Vec<DamagedTile>,
    /// What is wrong with the head, so that tiles cannot be told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl KeptConversion {
    /// Looks at all of what is kept of a model, and changes nothing.
    fn look_at(path: &Path) -> Option<Self> {
        match Cache::default().find(path) {
            Kept::Nothing => None,
            Kept::Damaged { file, error } => {
                let (file, error) = (file.display().to_string(), error_line(&error.into()));
                Some(Self { file, sound: false, damaged: Vec::new(), error: Some(error) })
            }
            Kept::Conversion(model) => {
                let bar = progress_bytes("conversion", Some(model.header().sections.tiles_size));
                let damaged = verify(&model, &|done| bar.set_position(done));
                bar.finish_and_clear();
                let file = model.path().display().to_string();
                Some(Self { file, sound: damaged.is_empty(), damaged, error: None })
            }
        }
    }

    fn line(&self) -> String {
        if self.sound {
            return format!("its conversion {}: sound", self.file);
        }
        let what = match (&self.error, self.damaged.len() as u64) {
            (Some(_), _) => "its head".to_owned(),
            (None, tiles) => counted(tiles, "tile").to_string(),
        };
        format!(
            "its conversion {}: damaged ({what}), not the model; the next run makes it anew",
            self.file
        )
    }
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
    let report = ModelVerifyReport {
        file,
        tiles: model.tile_count(),
        bytes,
        seconds,
        sound: damaged.is_empty(),
        damaged,
        conversion: None,
    };
    let exit = if report.sound { Exit::Ok } else { Exit::FoundBad };
    out.print(&report, human)?;
    Ok(exit)
}

/// Reads every weight of a GGUF file, which has no checksums, and what is kept of its conversion.
fn in_place(path: &Path, out: &mut Output) -> anyhow::Result<Exit> {
    let gguf = Gguf::open(path)?;
    // A conversion tells of each tile twice, when it is written and when the file is sealed.
    let bar = progress_bytes("verifying", Some(work_in_bytes(&gguf) / 2));
    let start = Instant::now();
    let checked =
        check(&gguf, &|done| bar.set_position(done)).map_err(|error| error.in_file(path))?;
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let conversion = KeptConversion::look_at(path);
    let is_bad = conversion.as_ref().is_some_and(|conversion| !conversion.sound);
    let report = ModelVerifyReport {
        file: path.display().to_string(),
        tiles: checked.tiles as u32,
        bytes: checked.model_size_in_bytes,
        seconds,
        // What is unsound was an error above.
        sound: true,
        damaged: Vec::new(),
        conversion,
    };
    out.print(&report, human)?;
    // The check was made, and it found something bad, though not in the model.
    Ok(if is_bad { Exit::FoundBad } else { Exit::Ok })
}

fn human(report: &ModelVerifyReport) -> String {
    let mut text = String::new();
    for tile in &report.damaged {
        let [row, row_end] = tile.rows;
        let [column, column_end] = tile.columns;
        let place =
            tile.map.first().map_or(String::new(), |rect| format!(", map {}, {}", rect.x, rect.y));
        let _ = writeln!(
            text,
            "damaged: tile {} of {} (rows {row}..{row_end}, columns {column}..{column_end}), file \
             byte {}{place}",
            tile.tile, tile.tensor, tile.file_offset,
        );
    }
    let rate = report.bytes as f64 / 1e6 / report.seconds.max(1e-9);
    let state = match report.damaged.len() {
        0 => "sound".to_owned(),
        bad => format!("{bad} damaged"),
    };
    let (tiles, bytes) = (thousands(u64::from(report.tiles)), human_bytes(report.bytes));
    let noun = one_or_more(report.tiles, "tile", "tiles");
    let _ = write!(
        text,
        "{}: {state}: {tiles} {noun}, {bytes} in {:.2} s ({rate:.0} MB/s)",
        report.file, report.seconds
    );
    if let Some(conversion) = &report.conversion {
        let _ = write!(text, "\n{}", conversion.line());
    }
    text
}
