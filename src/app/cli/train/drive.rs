//! A run of `train`, from the first check to the last line.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;

use super::arguments::{EvalArg, TrainArgs};
use super::prepare::{self, TrainingLines};
use super::report::{TrainReport, TrainView};
use super::show::show;
use crate::app::cli::engine::Device;
use crate::app::cli::numbers::thousands;
use crate::app::cli::open_model;
use crate::app::cli::output::{Exit, Output, doing, print_note, print_warning};
use crate::app::cli::run::interruptible;
use crate::batch::{ModelText, TextModel};
use crate::content::assets::Assets;
use crate::model::{Adapter, Encoding, PixelModel};
use crate::outputs::{self, Format};
use crate::pxi::Target;
use crate::size::MemorySize;
use crate::training::checkpoint::{ADAPTER, CheckpointError, CheckpointFolder, RunIdentity};
use crate::training::cpu::CpuTrainer;
use crate::training::evaluate::{AskedLine, ask, engine_of_weights, engine_with, positions};
use crate::training::plan::{MemoryPlan, plan};
use crate::training::run::{Ask, Keeping, Run, RunEnd, RunProgress, RunSettings, TrainingRunError};
use crate::training::{Trained, Trainer, TrainerState, TrainingSettings, start, whole};

/// What the program takes beside a run, and what the system may want meanwhile.
const SPARE_MEMORY: u64 = 64 << 20;

/// Runs `train`.
///
/// # Errors
/// Something that was asked for cannot be; then nothing was learnt.
pub fn run(args: TrainArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    check_outputs(&args)?;
    let model = open_model(args.model.as_deref(), assets)?;
    let text = ModelText::new(&model)?;
    text.warnings().iter().for_each(|warning| print_warning(warning));
    let reading = doing("reading the data");
    let lines = prepare::read_lines(&args, &text, &model)?;
    drop(reading);
    if let Some(count) = args.show {
        show(&lines.data, count, &text, out)?;
        return Ok(Exit::Ok);
    }
    anyhow::ensure!(
        !args.how.full || args.device != Device::Gpu,
        "--full --device gpu: the kernels train adapters alone; leave one of them out"
    );
    let mut settings = prepare::settings(&args, &lines.data);
    let begin = prepare::start(&args, &model, &mut settings)?;
    let memory = memory_plan(&args, &model, &lines, &settings)?;
    if args.dry_run {
        print_plan(&args, &lines, &settings, &memory, out)?;
        return Ok(Exit::Ok);
    }
    if let Some(choice) = prepare::choice(&args, &settings).filter(|_| !args.quiet) {
        print_note(&choice);
    }
    let identity = prepare::identity(&args, &model, &lines, &settings)?;
    let model = Arc::new(model);
    let preparing = doing("preparing the model");
    let (mut trainer, device) = open_trainer(&args, &model, &settings, begin.as_ref(), &memory)?;
    drop(preparing);
    let job = TrainingJob { args: &args, text: &text, model, lines, settings, device };
    job.run(&mut *trainer, identity, out)
}

/// What makes the steps, and its name.
///
/// # Errors
/// There is no such device, or the model or the settings do not fit it.
fn open_trainer(
    args: &TrainArgs,
    model: &Arc<PixelModel>,
    settings: &RunSettings,
    begin: Option<&Adapter>,
    memory: &MemoryPlan,
) -> anyhow::Result<(Box<dyn Trainer>, String)> {
    let training = &settings.training;
    if args.device == Device::Gpu {
        return open_on_gpu(args, model, training, begin, memory);
    }
    anyhow::ensure!(
        args.gpu_memory.is_none(),
        "--gpu-memory is about --device gpu; here the processor learns"
    );
    let trainer = CpuTrainer::new(Arc::clone(model), training, begin)?;
    let mut trainer = trainer.keeping(memory.kept_layers);
    if args.how.from_scratch {
        let state = trainer.state()?;
        trainer.restore(whole::from_scratch(model, state, training.seed))?;
    }
    Ok((Box::new(trainer), "processor".into()))
}

#[cfg(feature = "world")]
fn open_on_gpu(
    args: &TrainArgs,
    model: &Arc<PixelModel>,
    training: &TrainingSettings,
    begin: Option<&Adapter>,
    memory: &MemoryPlan,
) -> anyhow::Result<(Box<dyn Trainer>, String)> {
    use crate::residency::compute::weights_in_bytes;
    use crate::training::gpu::{GpuTrainer, GpuTraining};
    let taken = weights_in_bytes(model) + memory.trained_bytes;
    let options = GpuTraining {
        columns: u32::try_from(memory.columns)?,
        memory: args.gpu_memory.map(|MemorySize(bytes)| bytes.saturating_sub(taken)),
        ..GpuTraining::default()
    };
    let trainer = GpuTrainer::new(Arc::clone(model), training, begin, &options)?;
    let [activations, trained] = trainer.memory();
    let all = MemorySize(weights_in_bytes(model) + activations + trained);
    if let Some(most) = args.gpu_memory.filter(|most| most.0 < all.0) {
        anyhow::bail!(
            "--gpu-memory {most}: this run takes {all}: lower --batch-tokens, --context or --rank"
        );
    }
    let device = trainer.device().name.clone();
    Ok((Box::new(trainer), device))
}

#[cfg(not(feature = "world"))]
fn open_on_gpu(
    _: &TrainArgs,
    _: &Arc<PixelModel>,
    _: &TrainingSettings,
    _: Option<&Adapter>,
    _: &MemoryPlan,
) -> anyhow::Result<(Box<dyn Trainer>, String)> {
    anyhow::bail!("--device gpu: this program was built without a GPU path; use cpu or auto")
}

/// Everything that a run is made of, but for the trainer.
struct TrainingJob<'a> {
    args: &'a TrainArgs,
    text: &'a ModelText,
    model: Arc<PixelModel>,
    lines: TrainingLines,
    settings: RunSettings,
    /// What computes.
    device: String,
}

impl TrainingJob<'_> {
    fn run(
        &self,
        trainer: &mut dyn Trainer,
        identity: RunIdentity,
        out: &mut Output,
    ) -> anyhow::Result<Exit> {
        let (args, settings) = (self.args, &self.settings);
        let begun = Instant::now();
        let place = checkpoint_place(args);
        if args.resume && !place.is_dir() {
            return Err(CheckpointError::None(place).into());
        }
        let folder = CheckpointFolder::open(&place)?;
        let progress = self.first_progress(&folder, &identity, trainer)?;
        let steps = settings.training.schedule.steps;
        let mut view = TrainView::new(steps, &progress.log, args.log.as_deref(), args.quiet)
            .map_err(|error| anyhow::anyhow!("the log cannot be written: {error}"))?;
        let every = args.every.unwrap_or(steps.div_ceil(10));
        let adapter = |state: &TrainerState| self.adapter(state);
        let (end, progress) = interruptible(|cancelled| {
            let stop = || cancelled.load(Ordering::Relaxed);
            let mut run = Run {
                trainer: &mut *trainer,
                data: &self.lines.data,
                valid: self.lines.valid.as_ref(),
                ask: self.asking(cancelled),
                settings,
                keeping: Some(Keeping { folder: &folder, identity, adapter: &adapter, every }),
                progress,
            };
            let end = run.go(&stop, &mut |event| view.take(event));
            (end, run.progress)
        });
        view.finish();
        let mut report = TrainReport::of_log(&progress.log, begun);
        report.model = self.text.name().to_owned();
        report.data = self.lines.data.name.clone();
        report.device.clone_from(&self.device);
        report.learnt = if args.how.full { "model" } else { "adapter" };
        report.steps_in_all = steps;
        report.duplicates = self.lines.duplicates;
        report.truncated = self.lines.data.truncated;
        let exit = self.end(end, trainer, &folder, &mut report)?;
        if let Some(curve) = &args.curve {
            crate::training::curve::draw(curve, &progress.log, &report.data)?;
        }
        if out.is_json() || !args.quiet {
            out.print(&report, TrainReport::words)?;
        }
        Ok(exit)
    }

    /// Where the run stands: at its beginning, or where a checkpoint has it.
    fn first_progress(
        &self,
        folder: &CheckpointFolder,
        identity: &RunIdentity,
        trainer: &mut dyn Trainer,
    ) -> anyhow::Result<RunProgress> {
        let place = folder.path().display();
        let kept = folder.list()?;
        if self.args.resume {
            let mut tell = |error: &CheckpointError| print_warning(&error.to_string());
            let (path, checkpoint) = folder.resume(identity, &mut tell)?;
            trainer.restore(checkpoint.state)?;
            if !self.args.quiet {
                print_note(&format!("going on from {}", path.display()));
            }
            return Ok(checkpoint.progress);
        }
        if !kept.is_empty() {
            anyhow::ensure!(
                self.args.force,
                "there are checkpoints of an earlier run in {place}: give --resume to go on from \
                 them, or --force to begin anew"
            );
            for (_, old) in kept {
                std::fs::remove_dir_all(old)?;
            }
        }
        Ok(RunProgress::default())
    }

    /// What asks questions, if they are wanted and there are some.
    fn asking<'b>(&'b self, cancelled: &'b AtomicBool) -> Option<Box<Ask<'b>>> {
        let valid = self.lines.valid.as_ref()?;
        let is_asked = valid.examples.iter().any(|example| example.question.is_some());
        if self.args.eval != EvalArg::Exact || !is_asked {
            return None;
        }
        let context = positions(valid, self.model.config().context_length) as usize;
        Some(Box::new(move |trainer, _| {
            let words = |error: &dyn std::error::Error| error.to_string();
            let state = trainer.state().map_err(|error| words(&error))?;
            // It goes with the engine that reads it.
            let folder = tempfile::tempdir().map_err(|error| words(&error))?;
            let mut engine = match self.adapter(&state) {
                Some(adapter) => engine_with(Arc::clone(&self.model), &adapter, context)
                    .map_err(|error| words(&error))?,
                None => engine_of_weights(&self.model, &state.parameters, folder.path(), context)
                    .map_err(|error| words(&error))?,
            };
            let asked = ask(&mut engine, self.text, valid, cancelled, &mut || ())
                .map_err(|error| words(&error))?;
            let right = |lines: &[AskedLine]| lines.iter().filter(|it| it.is_right).count();
            Ok(asked.map(|lines| (right(&lines), lines.len())))
        }))
    }

    /// What was learnt.
    fn adapter(&self, state: &TrainerState) -> Option<Adapter> {
        start::adapter(&self.model, &self.settings.training, &state.parameters)
    }

    /// Writes what is to be written at the end, and says how it ended.
    fn end(
        &self,
        end: Result<RunEnd, TrainingRunError>,
        trainer: &mut dyn Trainer,
        folder: &CheckpointFolder,
        report: &mut TrainReport,
    ) -> anyhow::Result<Exit> {
        let last = folder.list()?.into_iter().next().map(|(_, path)| path.display().to_string());
        report.checkpoint = last.clone();
        match end? {
            RunEnd::Done => {
                let target = self.write(trainer, report)?;
                report.output = Some(target.display().to_string());
                match report.best_step.filter(|best| *best > 0 && *best < report.steps) {
                    Some(best) if folder.place(best).is_dir() => {
                        let place = folder.place(best);
                        let place = if self.args.how.full { place } else { place.join(ADAPTER) };
                        report.message =
                            Some(format!("an earlier one was better: {}", place.display()));
                    }
                    _ if self.args.checkpoint.is_none() => {
                        report.checkpoint = None;
                        remove(folder.path());
                    }
                    _ => (),
                }
                Ok(Exit::Ok)
            }
            RunEnd::Stopped => {
                report.end = "stopped";
                let again = again();
                report.message = Some(match last {
                    Some(last) => format!(
                        "stopped after step {}; the checkpoint is {last}, go on with\n  {again}",
                        report.steps
                    ),
                    None => {
                        self.remove_empty(folder);
                        "stopped before the first step; nothing was learnt".into()
                    }
                });
                Ok(Exit::FoundBad)
            }
            RunEnd::NoNumber { step, file, lines, problem } => {
                report.end = "no_number";
                if last.is_none() {
                    self.remove_empty(folder);
                }
                report.message = {
                    let of = lines_of(&file, &lines);
                    Some(no_number(step, &of, &problem, last.as_deref(), self.args.how.full))
                };
                Ok(Exit::FoundBad)
            }
        }
    }

    /// Removes a folder that nobody asked for and that has no checkpoint.
    fn remove_empty(&self, folder: &CheckpointFolder) {
        if self.args.checkpoint.is_none() {
            remove(folder.path());
        }
    }

    /// Writes the adapter, or the model.
    fn write(&self, trainer: &mut dyn Trainer, report: &TrainReport) -> anyhow::Result<&Path> {
        let state = trainer.state()?;
        let Some(output) = &self.args.output else { anyhow::bail!("there is no --output") };
        let Some(mut adapter) = self.adapter(&state) else {
            let encoding = self.args.encoding.encoding();
            whole::write(&self.model, &state.parameters, encoding, output, true)?;
            return Ok(output);
        };
        adapter.run = Some(run_words(self, report));
        write_adapter(&adapter, output)?;
        Ok(output)
    }
}

/// Lines of a file, in words.
fn lines_of(file: &str, lines: &[u64]) -> String {
    let numbers: Vec<String> = lines.iter().map(ToString::to_string).collect();
    match numbers.as_slice() {
        [] => String::new(),
        [line] => format!(", line {line} of {file}"),
        many => format!(", lines {} of {file}", many.join(", ")),
    }
}

/// What is said of a step whose numbers were none.
fn no_number(step: u64, of: &str, problem: &str, last: Option<&str>, is_full: bool) -> String {
    let last = match last {
        Some(last) if !is_full => format!(
            "the last checkpoint is {last}; what it learnt goes on with another rate by --lora \
             {last}/{ADAPTER}"
        ),
        Some(last) => format!("the last checkpoint is {last}"),
        None => "there is no checkpoint yet".into(),
    };
    format!("step {step}{of}: {problem}. Lower the rate (--lr), or look at the data; {last}")
}

fn write_adapter(adapter: &Adapter, output: &Path) -> anyhow::Result<()> {
    // That nothing is replaced without leave was seen to before the first step.
    Ok(adapter.write(Target::new(output, true), Encoding::F32)?)
}

/// How an adapter was made.
fn run_words(job: &TrainingJob<'_>, report: &TrainReport) -> String {
    let loss = report.valid_loss.map_or_else(String::new, |it| format!(", valid loss {it:.4}"));
    format!(
        "seed {}, {} steps, data {}{loss}",
        job.settings.training.seed,
        report.steps,
        &crate::model::hex(&job.lines.data.digest)[..16],
    )
}

/// The command that goes on.
fn again() -> String {
    let mut words: Vec<String> = std::env::args().filter(|word| word != "--force").collect();
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".into());
    }
    let quoted = words.iter().map(|word| match crate::terminal::is_plain_word(word) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn checkpoint_place(args: &TrainArgs) -> PathBuf {
    match (&args.checkpoint, &args.output) {
        (Some(place), _) => place.clone(),
        (None, Some(output)) => {
            let mut name = output.clone().into_os_string();
            name.push(".checkpoints");
            name.into()
        }
        (None, None) => PathBuf::from("checkpoints"),
    }
}

/// Removes a folder of checkpoints that nobody asked for.
fn remove(place: &Path) {
    if let Err(error) = std::fs::remove_dir_all(place) {
        print_warning(&format!("{} could not be removed: {error}", place.display()));
    }
}

/// Refuses outputs that are inputs, are there or cannot be, before anything is opened.
fn check_outputs(args: &TrainArgs) -> anyhow::Result<()> {
    let inputs: Vec<&Path> = [args.model.as_deref(), Some(&args.data), args.valid.as_deref()]
        .into_iter()
        .chain([args.how.lora.as_deref()])
        .flatten()
        .collect();
    let replaces = args.force || args.resume;
    if let Some(output) = &args.output {
        let is_pixels = output.extension().is_some_and(|it| it.eq_ignore_ascii_case("pxi"));
        let format = if args.how.full && is_pixels { Format::Pxi } else { Format::Gguf };
        outputs::check_output(output, &inputs, format, replaces)?;
    }
    if let Some(log) = &args.log {
        outputs::check_output(log, &inputs, Format::Text, replaces)?;
    }
    if let Some(curve) = &args.curve {
        outputs::refuse_input(curve, &inputs)?;
        outputs::refuse_missing_folder(curve)?;
        crate::training::curve::check(curve)?;
    }
    Ok(())
}

fn memory_plan(
    args: &TrainArgs,
    model: &PixelModel,
    lines: &TrainingLines,
    settings: &RunSettings,
) -> anyhow::Result<MemoryPlan> {
    let room = match args.memory {
        Some(MemorySize(bytes)) => bytes,
        None => crate::memory::available_in_bytes()
            .map_or(u64::MAX, |bytes| bytes.saturating_sub(SPARE_MEMORY)),
    };
    let longest = lines.data.longest().max(lines.valid.as_ref().map_or(0, |valid| valid.longest()));
    let what = &settings.training.what;
    Ok(plan(model, what, longest, settings.batch_tokens, room)?)
}

/// What a run would take.
#[derive(Serialize)]
struct PlanReport {
    lines: usize,
    columns: usize,
    targets: usize,
    steps: u64,
    warmup_steps: u64,
    batch_tokens: usize,
    epochs: Option<u32>,
    valid_lines: usize,
    memory: MemoryPlan,
    memory_in_bytes: u64,
    /// Nothing was run, so nothing is known of the time.
    seconds: Option<f64>,
}

fn print_plan(
    args: &TrainArgs,
    lines: &TrainingLines,
    settings: &RunSettings,
    memory: &MemoryPlan,
    out: &mut Output,
) -> anyhow::Result<()> {
    let schedule = settings.training.schedule;
    let report = PlanReport {
        lines: lines.data.examples.len(),
        columns: lines.data.columns().iter().sum(),
        targets: lines.data.targets(),
        steps: schedule.steps,
        warmup_steps: schedule.warmup,
        batch_tokens: settings.batch_tokens,
        epochs: settings.epochs,
        valid_lines: lines.valid.as_ref().map_or(0, |valid| valid.examples.len()),
        memory: *memory,
        memory_in_bytes: memory.total(),
        seconds: None,
    };
    let what = match settings.training.what {
        Trained::Full => "every weight",
        Trained::Lora(_) => "an adapter",
    };
    let size = |bytes: u64| MemorySize(bytes).to_string();
    let choice = prepare::choice(args, settings).map_or_else(String::new, |it| format!("; {it}"));
    out.print(&report, |it| {
        format!(
            "data    {} lines, {} tokens a time, {} of them learnt; {} lines to look at\n\
             steps   {}, the first {} with a growing rate{choice}\n\
             trains  {what}, {} numbers\n\
             memory  {}: trained with gradient and moments {}, a checkpoint on its way {}, \
             entrances of layers {}, activations of {} layers {}, logits {}\n\
             time    not measured: nothing was run. A token takes about as long as three of a \
             prompt; `pixel-llm bench` tells how fast these are\n",
            it.lines,
            thousands(it.columns as u64),
            thousands(it.targets as u64),
            it.valid_lines,
            it.steps,
            it.warmup_steps,
            thousands(memory.trained),
            size(memory.total()),
            size(memory.trained_bytes),
            size(memory.checkpoint_bytes),
            size(memory.entrances_bytes),
            memory.kept_layers,
            size(memory.activations_bytes),
            size(memory.logits_bytes),
        )
    })?;
    Ok(())
}
