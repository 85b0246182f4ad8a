//! `pixel-llm inspect MODEL`: what a model is, in a page, as JSON, or as a picture.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::numbers::{human_bytes, thousands};
use super::output::{Exit, Output, print_note, print_warning, progress_bar};
use crate::content::assets::Assets;
use crate::model::convert::draft;
use crate::model::gguf::{Gguf, Metadata};
use crate::model::resolve::Kept;
use crate::model::tensors::unused;
use crate::model::tokenizer::TokenizerSpec;
use crate::model::{Cache, Encoding, MapPlan, ModelConfig, PixelModel, Tensor, Tokenizer, resolve};
use crate::outputs::{Format, check_output};
use crate::pxi::Target;
use crate::terminal::one_line;

/// Arguments of `inspect`: a model, and the picture that is wanted of it.
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
    #[arg(
        long,
        default_value_t = 1600,
        value_parser = clap::value_parser!(u32).range(64..=16384),
        requires = "png",
    )]
    side: u32,
}

#[derive(Serialize)]
struct InspectReport<'a> {
    file: String,
    name: Option<&'a str>,
    licence: Option<&'a str>,
    description: Option<&'a str>,
    config: &'a ModelConfig,
    parameters: u64,
    model_size_in_bytes: u64,
    file_size_in_bytes: u64,
    tensor_count: usize,
    tile_count: u32,
    map: [i64; 2],
    /// `None` for a GGUF file that is not converted yet.
    root: Option<String>,
    tokenizer: Option<&'a str>,
    chat_template: bool,
    encodings: Vec<EncodingShare>,
    /// What a person should know before it answers; also on standard error.
    warnings: Vec<String>,
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
        let inputs = args.model.as_deref().map(resolve::parts).unwrap_or_default();
        check_output(path, inputs, Format::Png, args.force)?;
    }
    // A GGUF file is told of as it is; only a picture needs every weight.
    if args.png.is_none()
        && let Some(path) = &args.model
        && resolve::is_gguf(path)?
    {
        return in_place(path, args.tensors, out);
    }
    let model = super::open_model(args.model.as_deref(), assets)?;
    if let Some(path) = &args.png {
        let bar = progress_bar("painting", u64::from(model.tile_count()));
        let picture =
            crate::model::poster::paint(&model, args.side, &|done| bar.set_position(done))?;
        bar.finish_and_clear();
        picture.write_png(Target::new(path, args.force))?;
    }
    let report = report(&model, args.tensors);
    report.warnings.iter().for_each(|warning| print_warning(warning));
    out.print(&report, |report| {
        let mut text = human(report);
        if let Some(path) = &args.png {
            let _ = writeln!(text, "\nPicture written to {}", path.display());
        }
        text
    })?;
    Ok(Exit::Ok)
}

fn in_place(path: &Path, with_tensors: bool, out: &mut Output) -> anyhow::Result<Exit> {
    let gguf = Gguf::open(path)?;
    let draft = draft(&gguf).map_err(|error| error.in_file(path))?;
    let root = match Cache::default().find(path) {
        Kept::Nothing => None,
        Kept::Conversion(model) => Some(crate::model::hex(&model.header().root)),
        Kept::Damaged { file, .. } => {
            let file = file.display();
            print_note(&format!(
                "the kept conversion {file} is damaged; the next run makes it anew"
            ));
            None
        }
    };
    let about = ModelSummary {
        file: path.display().to_string(),
        size_in_bytes: gguf
            .file_size_in_bytes()
            .with_context(|| format!("{}: cannot read", path.display()))?,
        metadata: &draft.metadata,
        config: &draft.config,
        tensors: &draft.tensors,
        plan: &draft.plan,
        root,
    };
    let report = about.report(with_tensors);
    report.warnings.iter().for_each(|warning| print_warning(warning));
    out.print(&report, |report| human(report))?;
    Ok(Exit::Ok)
}

fn report(model: &PixelModel, with_tensors: bool) -> InspectReport<'_> {
    let about = ModelSummary {
        file: model.path().display().to_string(),
        // From the header: the built-in model is no file that could be asked.
        size_in_bytes: model.header().sections.payload_size() + crate::pxi::HEADER_LEN as u64,
        metadata: model.metadata(),
        config: model.config(),
        tensors: model.tensors(),
        plan: model.plan(),
        root: Some(crate::model::hex(&model.header().root)),
    };
    about.report(with_tensors)
}

/// What a model is, whichever kind of file holds it.
struct ModelSummary<'a> {
    file: String,
    size_in_bytes: u64,
    metadata: &'a Metadata,
    config: &'a ModelConfig,
    tensors: &'a [Tensor],
    plan: &'a MapPlan,
    root: Option<String>,
}

impl<'a> ModelSummary<'a> {
    /// What answers will lack, and why there will be none.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.config.warnings(self.metadata);
        if let Some(tensor) = unused(self.tensors) {
            warnings.push(format!(
                "the forward pass does not use tensor {:?}, so the model can be looked at and \
                 gives no answers",
                tensor.name
            ));
        }
        let spec = TokenizerSpec::from_metadata(self.metadata);
        match spec.and_then(|spec| Tokenizer::new(&spec)) {
            Ok(tokenizer) => warnings.extend(tokenizer.warnings().iter().cloned()),
            Err(error) => warnings
                .push(format!("the tokenizer cannot be used, so there are no answers: {error}")),
        }
        warnings
    }

    fn report(self, with_tensors: bool) -> InspectReport<'a> {
        // A text that is no text is as good as none here; `convert` keeps it as it is.
        let text = |key: &str| self.metadata.str(key).ok().flatten();
        let share = |encoding| {
            let of_it = || self.tensors.iter().filter(move |tensor| tensor.encoding() == encoding);
            EncodingShare {
                encoding,
                tensors: of_it().count(),
                weights: of_it().map(Tensor::weight_count).sum(),
                bytes: of_it().map(|tensor| tensor.tiling.size_in_bytes()).sum(),
            }
        };
        let mut encodings: Vec<_> =
            Encoding::ALL.into_iter().map(share).filter(|share| share.tensors > 0).collect();
        encodings.sort_by_key(|share| std::cmp::Reverse(share.bytes));
        let row = |(index, tensor): (usize, &'a Tensor)| TensorRow {
            name: &tensor.name,
            dimensions: &tensor.dimensions,
            encoding: tensor.encoding(),
            bytes: tensor.tiling.size_in_bytes(),
            tiles: tensor.tiles(),
            map: self.plan.tensor_rect(index),
        };
        InspectReport {
            name: text("general.name"),
            licence: text("general.license"),
            description: text("general.description"),
            config: self.config,
            parameters: self.tensors.iter().map(Tensor::weight_count).sum(),
            model_size_in_bytes: self.tensors.iter().map(|t| t.tiling.size_in_bytes()).sum(),
            file_size_in_bytes: self.size_in_bytes,
            tensor_count: self.tensors.len(),
            tile_count: self.tensors.iter().map(|tensor| tensor.tiles().len() as u32).sum(),
            map: self.plan.size,
            tokenizer: text("tokenizer.ggml.model"),
            chat_template: text("tokenizer.chat_template").is_some(),
            encodings,
            warnings: self.warnings(),
            tensors: with_tensors.then(|| self.tensors.iter().enumerate().map(row).collect()),
            file: self.file,
            root: self.root,
        }
    }
}

fn human(report: &InspectReport<'_>) -> String {
    let mut text = String::new();
    let mut line = |args: fmt::Arguments<'_>| {
        text.write_fmt(format_args!("{args}\n")).expect("writing to a String cannot fail")
    };
    line(format_args!("{}", one_line(report.name.unwrap_or("A model without a name"))));
    if let Some(description) = report.description {
        line(format_args!("{description}"));
    }
    line(format_args!(""));
    for (label, value) in facts(report) {
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
            let shape =
                tensor.dimensions.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
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

/// What a model is, as labels and values.
fn facts(report: &InspectReport<'_>) -> [(&'static str, String); 15] {
    let config = report.config;
    let [width, hidden] = [config.embedding_size, config.hidden_size];
    let vocabulary = thousands(u64::from(config.vocab_size));
    let weights = human_bytes(report.model_size_in_bytes);
    let [across, down] = report.map;
    let tiles = thousands(u64::from(report.tile_count));
    [
        ("family", config.architecture.to_string()),
        ("licence", report.licence.unwrap_or("not stated").to_owned()),
        ("parameters", thousands(report.parameters)),
        ("layers", config.layer_count.to_string()),
        ("heads", heads(config)),
        ("width", format!("{width} in the residual stream, {hidden} in the feed-forward")),
        ("vocabulary", format!("{vocabulary} tokens ({})", report.tokenizer.unwrap_or("none"))),
        ("context", format!("{} tokens", thousands(u64::from(config.context_length)))),
        ("rope", rope(config)),
        ("also", extras(config)),
        ("chat template", if report.chat_template { "yes" } else { "no" }.to_owned()),
        ("weights", format!("{weights} in {} tensors", report.tensor_count)),
        ("tiles", format!("{tiles} on a map of {across} x {down} cells")),
        ("file", format!("{}, {}", report.file, human_bytes(report.file_size_in_bytes))),
        (
            "root hash",
            report.root.clone().unwrap_or_else(|| "known when it is converted".to_owned()),
        ),
    ]
}

fn heads(config: &ModelConfig) -> String {
    let (count, size) = (config.head_count, config.head_size);
    match config.heads_per_kv() {
        1 => format!("{count} of {size}"),
        _ => format!("{count} of {size}, sharing {} keys and values", config.kv_head_count),
    }
}

fn rope(config: &ModelConfig) -> String {
    match config.rope_scaling {
        crate::model::RopeScaling::None => format!("base {}", config.rope_base),
        scaling => format!("base {}, {scaling:?} x {}", config.rope_base, config.rope_scale_factor),
    }
}

/// What not every model has.
fn extras(config: &ModelConfig) -> String {
    let output = match config.tied_embeddings {
        true => "output tied to the embedding",
        false => "output of its own",
    };
    let extras = [
        Some(output),
        config.qkv_biases.then_some("query, key, value biases"),
        config.output_biases.then_some("attention output biases"),
        config.feed_forward_biases.then_some("gate, up, down biases"),
        config.qk_norms.then_some("query and key norms"),
    ];
    extras.into_iter().flatten().collect::<Vec<_>>().join(", ")
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
