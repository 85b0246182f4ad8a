//! Work on formats: to GGUF and back, broken copies, and the logits of the source's own weights.

use std::fs;
use std::path::Path;

use super::heads::SURVEY_TEXT;
use super::plain::ExportedModel;
use super::{ModelContext, ProgressListener, TaskReport, WorkError, WorkResult};
use crate::forward::Interventions;
use crate::forward::cpu::{Column, CpuModel, CpuOptions, KvCache};
use crate::model::convert::{convert, file_size_in_bytes};
use crate::model::export::export;
use crate::model::gguf::Gguf;
use crate::model::resolve::check_temporary_room;
use crate::model::tokenizer::EncodeOptions;
use crate::model::verify::verify;
use crate::model::{ModelError, PixelModel};

fn to_pixels(gguf: &Gguf, path: &Path) -> WorkResult<PixelModel> {
    // Asked first, since a full disk would end the work in its middle.
    check_temporary_room(path.parent().unwrap_or(path), file_size_in_bytes(gguf)?)?;
    convert(gguf, path, &|_| ())?;
    Ok(PixelModel::open(path)?)
}

pub(super) fn round_trip(
    context: &ModelContext,
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    progress("to GGUF".into());
    let plain = ExportedModel::new(context)?;
    progress("back to pixels".into());
    let back = to_pixels(&plain.gguf, &plain.folder.path().join("back.pxi"))?;
    progress("to GGUF again".into());
    let again = plain.folder.path().join("again.gguf");
    export(&back, &again, &|_| ())?;
    let counts = [context.model.tile_count(), back.tile_count()];
    let common = counts[0].min(counts[1]);
    // Without checksums, so that damaged tiles are compared too.
    let differ = (0..common)
        .filter(|&tile| context.model.tile_unverified(tile) != back.tile_unverified(tile));
    let tiles = differ.count() as u32 + counts[0].abs_diff(counts[1]);
    let [one, two] = [&plain.path, &again].map(|path| fs::read(path).map_err(WorkError::other));
    let (one, two) = (one?, two?);
    let bytes =
        one.iter().zip(&two).filter(|(a, b)| a != b).count() + one.len().abs_diff(two.len());
    let verdict = if tiles == 0 && bytes == 0 { "bit for bit the same" } else { "not the same" };
    let summary = format!("{} tiles and {} GGUF bytes are {verdict}", counts[0], one.len());
    let report = TaskReport::new(summary)
        .with("different_tiles", tiles.into())
        .with("tiles", counts[0].into());
    Ok(report.with("different_gguf_bytes", bytes as f64).with("gguf_bytes", one.len() as f64))
}

pub(super) fn validate_loader(
    context: &ModelContext,
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    /// Places of the head and of the tiles that are broken, one at a time.
    const PLACES: usize = 48;
    let plain = ExportedModel::new(context)?;
    let path = plain.folder.path().join("copy.pxi");
    let model = to_pixels(&plain.gguf, &path)?;
    let tiles_start = model.header().sections.tiles as usize + crate::pxi::HEADER_LEN;
    drop(model);
    let whole = fs::read(&path).map_err(WorkError::other)?;
    let broken = plain.folder.path().join("broken.pxi");
    let (mut accepted, mut copies) = (0, 0);
    let mut try_copy = |bytes: &[u8], what: String| -> WorkResult<()> {
        context.go_on()?;
        progress(what);
        fs::write(&broken, bytes).map_err(WorkError::other)?;
        copies += 1;
        // A copy is found if the loader refuses it, or a tile does not match its checksum.
        if PixelModel::open(&broken).is_ok_and(|model| verify(&model, &|_| ()).is_empty()) {
            accepted += 1;
        }
        Ok(())
    };
    for part in 0..8 {
        let len = whole.len() * part / 8;
        try_copy(&whole[..len], format!("cut to {len} bytes"))?;
    }
    let mut bytes = whole.clone();
    let payload_end = crate::pxi::HEADER_LEN
        + crate::pxi::parse(&whole)
            .and_then(|file| file.payload().map(<[u8]>::len))
            .map_err(WorkError::other)?;
    for place in 0..PLACES {
        let at = match place % 2 {
            0 => tiles_start * (place / 2) / (PLACES / 2),
            _ => tiles_start + (payload_end - tiles_start) * (place / 2) / (PLACES / 2),
        };
        bytes[at] ^= 1 << (place % 8);
        try_copy(&bytes, format!("a bit of byte {at}"))?;
        bytes[at] = whole[at];
    }
    let summary = format!("{} of {copies} broken copies were found out", copies - accepted);
    let report = TaskReport::new(summary).with("broken_copies", copies.into());
    Ok(report.with("accepted_broken_copies", accepted.into()))
}

/// Tokens of the text that logits are compared on.
const TOKENS: usize = 48;

fn logits(model: &CpuModel, tokens: &[u32]) -> WorkResult<Vec<Vec<f32>>> {
    let mut cache = KvCache::new(model.config(), 1, tokens.len());
    let columns: Vec<Column> = (0..)
        .zip(tokens)
        .map(|(position, &token)| Column { token, slot: 0, position, wants_logits: true })
        .collect();
    let out = model.forward(&mut cache, &columns, &Interventions::default(), None)?;
    Ok(out.iter().map(|(_, row)| row.to_vec()).collect())
}

pub(super) fn compare_logits(
    context: &ModelContext,
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    let options = EncodeOptions { add_special: true, parse_special: true };
    let mut tokens = context.text.tokenizer().encode(SURVEY_TEXT, options);
    tokens.truncate(TOKENS.min(context.model.config().context_length as usize));
    let plain = ExportedModel::new(context)?;
    progress("unpacking the source".into());
    let unpacked = Gguf::open(plain.write_unpacked()?).map_err(ModelError::from)?;
    let unpacked = to_pixels(&unpacked, &plain.folder.path().join("unpacked.pxi"))?;
    progress("computing both".into());
    let ours = logits(&context.cpu_model()?, &tokens)?;
    let source = logits(&CpuModel::new(unpacked, CpuOptions::default())?, &tokens)?;
    let mut worst = 0.0_f32;
    let mut same = 0;
    for (ours, source) in ours.iter().zip(&source) {
        worst = ours.iter().zip(source).map(|(a, b)| (a - b).abs()).fold(worst, f32::max);
        let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        same += u32::from(best(ours) == best(source));
    }
    let count = ours.len();
    let summary = format!(
        "largest error of a logit {worst:.1e}; {same} of {count} positions foresee the same token"
    );
    let report = TaskReport::new(summary)
        .with("max_logit_error", worst.into())
        .with("positions", count as f64);
    Ok(report.with("same_best_token", same.into()))
}
