//! From arguments to a run that can begin: everything is read and checked here.

use std::path::Path;

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::arguments::{HowArgs, LossArg, ScheduleArg, TrainArgs};
use crate::app::cli::output::print_warning;
use crate::batch::ModelText;
use crate::model::{Adapter, PixelModel, hex};
use crate::training::checkpoint::RunIdentity;
use crate::training::data::{DataError, DataOptions, Dataset, Feed, TargetChoice};
use crate::training::optimizer::{AdamW, Decay, Schedule};
use crate::training::run::RunSettings;
use crate::training::{LoraSettings, Trained, TrainingSettings};

/// How many duplicates are told by their lines.
const NAMED: usize = 5;

/// Steps that an epoch has where lines are few: so many are needed to learn them in a few epochs.
const STEPS_OF_AN_EPOCH: usize = 48;
/// The fewest tokens of a step that are chosen: a few short lines.
const LEAST_BATCH: usize = 64;
/// The most that are chosen.
const LARGEST_BATCH: usize = 1024;
/// Tokens that a run learns at least, while that takes no more than [`MOST_EPOCHS`].
const LEAST_TOKENS: usize = 30_000;
/// The most epochs that are chosen: more learn the lines themselves by heart.
const MOST_EPOCHS: u32 = 8;

/// The least rate is the rate over this.
const LEAST_RATE: f32 = 10.0;

/// What a run learns from and looks at.
pub(super) struct TrainingLines {
    pub data: Dataset,
    pub valid: Option<Dataset>,
    /// Lines of `valid` that `data` has too.
    pub duplicates: usize,
}

/// Reads both files and tells what a person should know of them.
///
/// # Errors
/// One cannot be read, or has lines that cannot be used.
pub(super) fn read_lines(
    args: &TrainArgs,
    text: &ModelText,
    model: &PixelModel,
) -> anyhow::Result<TrainingLines> {
    let options = data_options(args, model)?;
    let read = |path: &Path| -> anyhow::Result<Dataset> {
        let data = Dataset::read(path, text, &options).map_err(explain_data)?;
        warn_of(&data, options.context);
        Ok(data)
    };
    let data = read(&args.data)?;
    let valid = args.valid.as_deref().map(read).transpose()?;
    let duplicates = valid.as_ref().map(|valid| valid.duplicates_of(&data)).unwrap_or_default();
    if let Some(valid) = valid.as_ref().filter(|_| !duplicates.is_empty()) {
        let named: Vec<String> = duplicates
            .iter()
            .take(NAMED)
            .map(|it| format!("line {} is line {}", it.line, it.other))
            .collect();
        let more = if duplicates.len() > NAMED { ", and so on" } else { "" };
        print_warning(&format!(
            "{} of {} lines of {} are in {} too ({}{more}): what is told of them is not told of \
             lines that were never seen",
            duplicates.len(),
            valid.examples.len(),
            valid.name,
            data.name,
            named.join(", "),
        ));
    }
    Ok(TrainingLines { data, valid, duplicates: duplicates.len() })
}

fn data_options(args: &TrainArgs, model: &PixelModel) -> anyhow::Result<DataOptions> {
    let most = model.config().context_length;
    let context = args.context.unwrap_or(most);
    anyhow::ensure!(context <= most, "--context {context}: the model was made for at most {most}");
    let targets = match args.loss {
        None => TargetChoice::Auto,
        Some(LossArg::Completion) => TargetChoice::Completion,
        Some(LossArg::All) => TargetChoice::All,
    };
    let (end, truncate) = (!args.no_end, args.truncate);
    Ok(DataOptions { targets, end, context: context as usize, truncate })
}

/// The error with every line that is wrong on a line of its own before it.
pub(in crate::app::cli) fn explain_data(error: DataError) -> anyhow::Error {
    if let DataError::BadLines(bad) = &error {
        for line in &bad.errors {
            print_warning(&format!("{}: {line}", bad.name));
        }
        return anyhow::Error::new(error).context("nothing was done");
    }
    error.into()
}

/// Tells of what was cut, and of fields that nothing reads.
pub(in crate::app::cli) fn warn_of(data: &Dataset, context: usize) {
    if data.truncated > 0 {
        print_warning(&format!(
            "{}: {} of {} lines were cut to {context} tokens",
            data.name,
            data.truncated,
            data.examples.len()
        ));
    }
    for (name, count) in &data.ignored {
        print_warning(&format!("{}: `{name}` is not read here ({count} lines)", data.name));
    }
}

/// Settings of the run, of which the number of steps follows from the data.
pub(super) fn settings(args: &TrainArgs, data: &Dataset) -> RunSettings {
    let how = &args.how;
    let (batch_tokens, epochs) = amount(how, data.columns().iter().sum());
    let steps = how
        .steps
        .unwrap_or_else(|| Feed::new(data.columns(), batch_tokens, how.seed).steps(epochs));
    let optimizer = AdamW { clip: how.clip, weight_decay: how.weight_decay, ..AdamW::default() };
    let schedule = Schedule {
        decay: match how.schedule {
            ScheduleArg::Cosine => Decay::Cosine,
            ScheduleArg::Linear => Decay::Linear,
            ScheduleArg::Constant => Decay::Constant,
        },
        rate: how.lr,
        least: how.lr / LEAST_RATE,
        warmup: (f64::from(how.warmup) * steps as f64).round() as u64,
        steps,
    };
    let loss = match args.loss {
        None => "",
        Some(LossArg::Completion) => " --loss completion",
        Some(LossArg::All) => " --loss all",
    };
    let context = args.context.map_or_else(String::new, |it| format!(" --context {it}"));
    let end = if args.no_end { " --no-end" } else { "" };
    let cut = if args.truncate { " --truncate" } else { "" };
    RunSettings {
        training: TrainingSettings { what: what(how), optimizer, schedule, seed: how.seed },
        batch_tokens,
        epochs: how.steps.is_none().then_some(epochs),
        data: format!("as usual{loss}{end}{context}{cut}"),
        evaluate_every: args.eval_every.unwrap_or(steps.div_ceil(4)),
    }
}

/// Tokens of a step and epochs, as they are asked for; else by how many tokens all lines have. Few
/// lines want small batches and several epochs, or there are too few steps to learn them.
fn amount(how: &HowArgs, tokens: usize) -> (usize, u32) {
    let batch = (tokens / STEPS_OF_AN_EPOCH).clamp(LEAST_BATCH, LARGEST_BATCH);
    let epochs = (LEAST_TOKENS.div_ceil(tokens.max(1)) as u32).clamp(3, MOST_EPOCHS);
    (how.batch_tokens.map_or(batch, |it| it as usize), how.epochs.unwrap_or(epochs))
}

/// What was chosen for the data, in words, if anything was.
pub(super) fn choice(args: &TrainArgs, settings: &RunSettings) -> Option<String> {
    let how = &args.how;
    let batch =
        (how.batch_tokens.is_none()).then(|| format!("--batch-tokens {}", settings.batch_tokens));
    let epochs = (how.epochs.is_none())
        .then(|| settings.epochs.map(|epochs| format!("--epochs {epochs}")))
        .flatten();
    let chosen: Vec<String> = epochs.into_iter().chain(batch).collect();
    (!chosen.is_empty()).then(|| format!("{}, chosen by the size of the data", chosen.join(" ")))
}

fn what(how: &HowArgs) -> Trained {
    if how.full {
        return Trained::Full;
    }
    Trained::Lora(LoraSettings {
        rank: how.rank as usize,
        alpha: how.alpha,
        rank_stabilised: how.rslora,
        dropout: how.dropout,
        targets: how.target.0.clone(),
        layers: how.layers,
    })
}

/// What the run is of, for its checkpoints.
///
/// # Errors
/// The adapter that it begins with cannot be read.
pub(super) fn identity(
    args: &TrainArgs,
    model: &PixelModel,
    lines: &TrainingLines,
    settings: &RunSettings,
) -> anyhow::Result<RunIdentity> {
    let start = match &args.how.lora {
        None => args.how.from_scratch.then(|| "weights that are drawn".to_owned()),
        Some(path) => {
            let bytes = crate::files::read(path)
                .with_context(|| format!("cannot read the adapter {}", path.display()))?;
            Some(hex(&Sha256::digest(bytes)))
        }
    };
    Ok(RunIdentity {
        base: hex(&model.header().root),
        data: hex(&lines.data.digest),
        valid: lines.valid.as_ref().map(|valid| hex(&valid.digest)),
        start,
        settings: settings.clone(),
    })
}

/// The adapter that the run begins with, checked against the model; and settings of its rank.
///
/// # Errors
/// It cannot be read, or is of another model.
pub(super) fn start(
    args: &TrainArgs,
    model: &PixelModel,
    settings: &mut RunSettings,
) -> anyhow::Result<Option<Adapter>> {
    let Some(path) = &args.how.lora else { return Ok(None) };
    let adapter = Adapter::open(path, model)?;
    adapter.check(model, false)?;
    let rank = adapter.updates.first().map_or(0, |update| update.rank);
    anyhow::ensure!(
        adapter.updates.iter().all(|update| update.rank == rank),
        "{}: its matrices have several ranks; one that goes on has one",
        path.display()
    );
    if let Trained::Lora(lora) = &mut settings.training.what {
        // What is there says what it is.
        lora.rank = rank;
        lora.alpha = if adapter.alpha == 0.0 { rank as f32 } else { adapter.alpha };
        lora.rank_stabilised = false;
    }
    Ok(Some(adapter))
}
