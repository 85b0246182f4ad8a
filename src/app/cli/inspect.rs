//! `pixel-llm inspect MODEL`: what a model is, in a page, as JSON, or as a picture.

use std::fmt::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::numbers::{human_bytes, thousands};
use super::output::{Exit, Output, progress_bar};
use crate::assets::Assets;
use crate::files::{Format, check_output};
use crate::model::{Encoding, PixelModel};
use crate::terminal::one_line;

/// Arguments of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pixel-llm inspect                          the model inside the program
  pixel-llm inspect model.gguf --tensors     every tensor with its shape and place
  pixel-llm inspect model.pxi --png poster.png --side 2400
  pixel-llm inspect model.pxi --json | jq .encodings")]
pub struct InspectArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    model: Option<PathBuf>,
    /// List every tensor.
    #[arg(long)]
    tensors: bool,
    /// Paint the whole model in its map layout into this PNG file.
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Replace the picture if it exists.
    #[arg(long, requires = "png")]
    force: bool,
    /// Pixels along the picture's longer side.
    #[arg(long, default_value_t = 1600, value_parser = clap::value_parser!(u32).range(64..=16384), requires = "png")]
    side: u32,
}

#[derive(Serialize)]
struct Report<'a> {
    file: String,
    name: Option<&'a str>,
    licence: Option<&'a str>,
    description: Option<&'a str>,
    config: &'a crate::model::ModelConfig,
    parameters: u64,
    model_size_in_bytes: u64,
    file_size_in_bytes: u64,
    tensor_count: usize,
    tile_count: u32,
    map: [i64; 2],
    root: String,
    tokenizer: Option<&'a str>,
    chat_template: bool,
    encodings: Vec<EncodingShare>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tensors: Option<Vec<TensorRow<'a>>>,
}

#[derive(Serialize)]
struct EncodingShare {
    encoding: Encoding,
    tensors: usize,
    weights: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct TensorRow<'a> {
    name: &'a str,
    dimensions: &'a [u64],
    encoding: Encoding,
    bytes: u64,
    tiles: std::ops::Range<u32>,
    map: crate::model::plan::Rect,
}

/// Runs `inspect`.
///
/// # Errors
/// The model cannot be opened; or the picture is the model, is there already without `--force`, or
/// cannot be written.
pub fn run(args: InspectArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    // Before the model is opened, which may take long.
    if let Some(path) = &args.png {
        check_output(path, args.model.as_deref(), Format::Png, args.force)?;
    }
    let model = super::open_model(args.model.as_deref(), assets)?;
    if let Some(path) = &args.png {
        let bar = progress_bar("painting", u64::from(model.tile_count()));
        let picture = crate::model::poster::paint(&model, args.side, &|done| bar.set_position(done))?;
        bar.finish_and_clear();
        picture.write_png(path)?;
    }
    let report = report(&model, args.tensors);
    out.print(&report, |report| {
        let mut text = human(report);
        if let Some(path) = &args.png {
            let _ = writeln!(text, "\nPicture written to {}", path.display());
        }
        text
    })?;
    Ok(Exit::Ok)
}

fn report(model: &PixelModel, with_tensors: bool) -> Report<'_> {
    // A text that is no text is as good as none here; `convert` keeps it as it is.
    let text = |key: &str| model.metadata().str(key).ok().flatten();
    let weights = |t: &crate::model::Tensor| t.tiling.rows * t.tiling.columns;
    let share = |encoding| {
        let of_it = || model.tensors().iter().filter(move |tensor| tensor.encoding() == encoding);
        EncodingShare {
            encoding,
            tensors: of_it().count(),
            weights: of_it().map(weights).sum(),
            bytes: of_it().map(|tensor| tensor.tiling.size_in_bytes()).sum(),
        }
    };
    let mut encodings: Vec<_> =
        Encoding::ALL.into_iter().map(share).filter(|share| share.tensors > 0).collect();
    encodings.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    let row = |(index, tensor)| row(model, index, tensor);
    Report {
        file: model.path().display().to_string(),
        name: text("general.name"),
        licence: text("general.license"),
        description: text("general.description"),
        config: model.config(),
        parameters: model.tensors().iter().map(weights).sum(),
        model_size_in_bytes: model.header().model_size_in_bytes,
        file_size_in_bytes: model.header().sections.payload_size() + crate::pxi::HEADER_LEN as u64,
        tensor_count: model.tensors().len(),
        tile_count: model.tile_count(),
        map: model.plan().size,
        root: crate::model::hex(&model.header().root),
        tokenizer: text("tokenizer.ggml.model"),
        chat_template: text("tokenizer.chat_template").is_some(),
        encodings,
        tensors: with_tensors.then(|| model.tensors().iter().enumerate().map(row).collect()),
    }
}

fn row<'a>(model: &PixelModel, index: usize, tensor: &'a crate::model::Tensor) -> TensorRow<'a> {
    TensorRow {
        name: &tensor.name,
        dimensions: &tensor.dimensions,
        encoding: tensor.encoding(),
        bytes: tensor.tiling.size_in_bytes(),
        tiles: tensor.tiles(),
        map: model.plan().tensor_rect(index),
    }
}

fn human(report: &Report<'_>) -> String {
    let config = report.config;
    let mut text = String::new();
    let mut line = |args: fmt::Arguments<'_>| {
        text.write_fmt(format_args!("{args}\n")).expect("writing to a String cannot fail")
    };
    line(format_args!("{}", one_line(report.name.unwrap_or("A model without a name"))));
    if let Some(description) = report.description {
        line(format_args!("{description}"));
    }
    let heads = match config.heads_per_kv() {
        1 => format!("{} of {}", config.head_count, config.head_size),
        _ => format!(
            "{} of {}, sharing {} keys and values",
            config.head_count, config.head_size, config.kv_head_count
        ),
    };
    let rope = match config.rope_scaling {
        crate::model::RopeScaling::None => format!("base {}", config.rope_base),
        scaling => format!("base {}, {scaling:?} x {}", config.rope_base, config.rope_scale_factor),
    };
    let mut notes =
        vec![if config.tied_embeddings { "output tied to the embedding" } else { "output of its own" }];
    notes.extend(config.qkv_biases.then_some("query, key, value biases"));
    notes.extend(config.output_biases.then_some("attention output biases"));
    notes.extend(config.feed_forward_biases.then_some("gate, up, down biases"));
    notes.extend(config.qk_norms.then_some("query and key norms"));
    let rows = [
        ("family", config.architecture.to_string()),
        ("licence", report.licence.unwrap_or("not stated").to_owned()),
        ("parameters", thousands(report.parameters)),
        ("layers", config.layer_count.to_string()),
        ("heads", heads),
        (
            "width",
            format!(
                "{} in the residual stream, {} in the feed-forward",
                config.embedding_size, config.hidden_size
            ),
        ),
        (
            "vocabulary",
            format!(
                "{} tokens ({})",
                thousands(u64::from(config.vocab_size)),
                report.tokenizer.unwrap_or("none")
            ),
        ),
        ("context", format!("{} tokens", thousands(u64::from(config.context_length)))),
        ("rope", rope),
        ("also", notes.join(", ")),
        ("chat template", if report.chat_template { "yes" } else { "no" }.to_owned()),
        (
            "weights",
            format!("{} in {} tensors", human_bytes(report.model_size_in_bytes), report.tensor_count),
        ),
        (
            "tiles",
            format!(
                "{} on a map of {} x {} cells",
                thousands(u64::from(report.tile_count)),
                report.map[0],
                report.map[1]
            ),
        ),
        ("file", format!("{}, {}", report.file, human_bytes(report.file_size_in_bytes))),
        ("root hash", report.root.clone()),
    ];
    line(format_args!(""));
    for (label, value) in rows {
        line(format_args!("  {label:<14} {}", one_line(&value)));
    }
    line(format_args!(""));
    line(format_args!("Encodings"));
    for share in &report.encodings {
        let part = share.bytes as f64 / report.model_size_in_bytes.max(1) as f64;
        let bar = "█".repeat((part * 24.0).round() as usize);
        line(format_args!(
            "  {:<6} {:>10} {:>5.1} %  {:>8} weights in {:>4} tensors  {bar}",
            share.encoding.name(),
            human_bytes(share.bytes),
            part * 100.0,
            short(share.weights),
            share.tensors,
        ));
    }
    if let Some(tensors) = &report.tensors {
        line(format_args!(""));
        line(format_args!("Tensors"));
        for tensor in tensors {
            let shape = tensor.dimensions.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
            let rect = tensor.map;
            let tiles = format!("{}..{}", tensor.tiles.start, tensor.tiles.end);
            line(format_args!(
                "  {:<28} {:>15} {:<5} {:>10}  tiles {:<13} at {}, {}",
                one_line(tensor.name),
                shape,
                tensor.encoding.name(),
                human_bytes(tensor.bytes),
                tiles,
                rect.x,
                rect.y,
            ));
        }
    }
    text
}

/// A count in three digits: 135 M.
fn short(value: u64) -> String {
    match value {
        0..=9_999 => value.to_string(),
        10_000..=9_999_999 => format!("{:.0} k", value as f64 / 1e3),
        10_000_000..=9_999_999_999 => format!("{:.0} M", value as f64 / 1e6),
        _ => format!("{:.1} G", value as f64 / 1e9),
    }
}
