//! A run of the trainer as a task: measured before and behind, resumable, in slices.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{adapter_path, answers_with, data_options, lines_of};
use crate::coach::FineTune;
use crate::coach::work::heads::SURVEY_TEXT;
use crate::coach::work::{
    ModelContext, PauseToken, ProgressListener, TaskReport, WorkError, WorkResult,
};
use crate::model::{Adapter, Encoding, hex};
use crate::pxi::Target;
use crate::training::checkpoint::{CheckpointFolder, RunIdentity};
use crate::training::cpu::CpuTrainer;
use crate::training::data::{Dataset, Feed, TargetChoice};
use crate::training::optimizer::{AdamW, Decay, Schedule};
use crate::training::plan::plan;
use crate::training::run::{
    Keeping, LogLine, Run, RunEnd, RunEvent, RunProgress, RunSettings, TrainingRunError,
};
use crate::training::{
    LoraSettings, Sequence, TrainError, Trained, Trainer, TrainingSettings, start,
};

/// Plain texts whose loss is compared before and behind: a model that forgets how to write shows
/// it here. Whole documents, of the kind that the built-in model knows; another model reads them
/// as plain English.
const PLAIN_TEXTS: [&str; 3] = [
    SURVEY_TEXT,
    "Once upon a time, behind the mill, there lived a small frog named Tick. Next door lived \
     Mona, a happy girl. Tick had an orange pencil, but it wanted a pink cup. Mona had a pink \
     cup, but she wanted an orange pencil. \"Shall we swap?\" asked Tick. \"Yes,\" said Mona. So \
     Tick gave the orange pencil to Mona, and Mona gave the pink cup to Tick. Both were happy.",
    "Once upon a time, there was a gentle blue dog named Fikodo. Fikodo often played with Jack, \
     a tiny boy. \"Tomorrow is Jack's birthday,\" thought Fikodo. \"What can I give him?\" Fikodo \
     knew that Jack liked the colour purple. So he made a purple shell. Fikodo put the purple \
     shell in a blue box and gave it to Jack. Jack opened the blue box. \"A purple shell!\" he \
     said. \"I love it.\"",
];

/// The share of steps in which the rate grows.
const WARMUP: f64 = 0.05;
/// The least rate is the rate over this.
const LEAST_RATE: f32 = 10.0;
/// Checkpoints of a run.
const CHECKPOINTS: u64 = 10;

/// Teaches the model a corpus's lines, and measures what came of it.
pub(in crate::coach::work) fn fine_tune(
    context: &ModelContext,
    how: &FineTune,
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    let lesson = Lesson::new(context, how)?;
    let mut trainer = lesson.trainer()?;
    progress("how good it is before".into());
    let before = lesson.look(&mut trainer)?;
    let (steps, is_whole) = lesson.learn(&mut trainer, progress)?;
    progress("how good it is now".into());
    let after = lesson.look(&mut trainer)?;
    let path = lesson.write(&mut trainer, steps)?;
    Ok(lesson.report(&before, &after, (steps, is_whole), &path))
}

/// Everything that a run is made of.
struct Lesson<'a> {
    context: &'a ModelContext,
    how: &'a FineTune,
    train: Dataset,
    valid: Dataset,
    plain: Vec<Sequence>,
    settings: RunSettings,
    clock: SliceClock<'a>,
}

/// How good a model is.
struct Look {
    valid_loss: f64,
    plain_loss: f64,
    right: usize,
    asked: usize,
}

impl<'a> Lesson<'a> {
    fn new(context: &'a ModelContext, how: &'a FineTune) -> WorkResult<Self> {
        let train = lines_of(context, &how.corpus, "train")?;
        let valid = lines_of(context, &how.corpus, "valid")?;
        let texts: String = PLAIN_TEXTS
            .iter()
            .map(|text| format!("{}\n", serde_json::json!({"text": text})))
            .collect();
        let options = data_options(context, TargetChoice::All);
        let plain = Dataset::parse("plain texts".into(), texts.as_bytes(), &context.text, &options)
            .map_err(WorkError::other)?;
        let plain = plain.examples.into_iter().map(|example| example.sequence).collect();
        let settings = settings(how, &train);
        let limit = how.minutes.map(|minutes| Duration::from_secs(60 * u64::from(minutes)));
        let clock = SliceClock::new(&context.pause_token, limit);
        Ok(Self { context, how, train, valid, plain, settings, clock })
    }

    /// A trainer that takes at most half of the memory that is left.
    fn trainer(&self) -> WorkResult<CpuTrainer> {
        let room = crate::memory::available_in_bytes().map_or(u64::MAX, |bytes| bytes / 2);
        let model = &self.context.model;
        let training = &self.settings.training;
        let plain = self.plain.iter().map(Sequence::columns).max().unwrap_or(0);
        let longest = self.train.longest().max(self.valid.longest()).max(plain);
        let memory = plan(model, &training.what, longest, self.settings.batch_tokens, room)
            .map_err(WorkError::other)?;
        let trainer = CpuTrainer::new(Arc::clone(model), training, None).map_err(of_trainer)?;
        Ok(trainer.keeping(memory.kept_layers))
    }

    fn look(&self, trainer: &mut CpuTrainer) -> WorkResult<Look> {
        let stop = || !self.clock.goes_on();
        let held_out: Vec<Sequence> =
            self.valid.examples.iter().map(|example| example.sequence.clone()).collect();
        let valid_loss = trainer.loss(&held_out, &stop).map_err(of_trainer)?.mean();
        let plain_loss = trainer.loss(&self.plain, &stop).map_err(of_trainer)?.mean();
        let adapter = self.adapter(trainer)?;
        let (right, asked) = answers_with(self.context, &adapter, &self.valid)?;
        Ok(Look { valid_loss, plain_loss, right, asked })
    }

    fn adapter(&self, trainer: &mut CpuTrainer) -> WorkResult<Adapter> {
        let state = trainer.state().map_err(of_trainer)?;
        start::adapter(&self.context.model, &self.settings.training, &state.parameters)
            .ok_or_else(|| WorkError::Other("no adapter was trained".into()))
    }

    /// Makes the steps; how many there are now, and whether these are all.
    fn learn(
        &self,
        trainer: &mut CpuTrainer,
        progress: &mut ProgressListener<'_>,
    ) -> WorkResult<(u64, bool)> {
        let place = self.context.folder.join(format!("{}.adapter.checkpoints", self.how.corpus));
        let folder = CheckpointFolder::open(&place).map_err(WorkError::other)?;
        let identity = self.identity();
        let begun = self.first_progress(&folder, &identity, trainer)?;
        let steps = self.settings.training.schedule.steps;
        let mut run = Run {
            trainer: &mut *trainer,
            data: &self.train,
            valid: None,
            ask: None,
            settings: &self.settings,
            keeping: Some(Keeping {
                folder: &folder,
                identity,
                adapter: &|_| None,
                every: steps.div_ceil(CHECKPOINTS),
            }),
            progress: begun,
        };
        let stop = || !self.clock.goes_on() || self.clock.is_over();
        let mut first = None;
        let end = run.go(&stop, &mut |event| {
            if let RunEvent::Line(LogLine::Step(line)) = event {
                let (at, from) = *first.get_or_insert((Instant::now(), line.step));
                let each = at.elapsed().as_secs_f64() / (line.step - from).max(1) as f64;
                let left = each * (steps - line.step) as f64;
                let left = if line.step > from { format!(", {left:.0} s left") } else { "".into() };
                progress(format!("step {} of {steps}, loss {:.3}{left}", line.step, line.loss));
            }
        });
        let made = run.progress.step;
        drop(run);
        match end.map_err(of_run)? {
            RunEnd::Stopped if self.context.pause_token.is_cancelled() => {
                return Err(WorkError::Cancelled);
            }
            RunEnd::Stopped | RunEnd::Done => (),
            RunEnd::NoNumber { step, problem, .. } => {
                return Err(WorkError::Other(format!("step {step}: {problem}")));
            }
        }
        drop(folder);
        // What was learnt is written next; the way to it is of no more use.
        std::fs::remove_dir_all(&place).map_err(WorkError::other)?;
        Ok((made, made == steps))
    }

    /// Where the run stands: where one that was stopped left it, else at its beginning.
    fn first_progress(
        &self,
        folder: &CheckpointFolder,
        identity: &RunIdentity,
        trainer: &mut CpuTrainer,
    ) -> WorkResult<RunProgress> {
        let kept = folder.list().map_err(WorkError::other)?;
        if let Ok((_, checkpoint)) = folder.resume(identity, &mut |_| ()) {
            trainer.restore(checkpoint.state).map_err(of_trainer)?;
            return Ok(checkpoint.progress);
        }
        // They are of other lines or other settings, or damaged.
        for (_, old) in kept {
            std::fs::remove_dir_all(old).map_err(WorkError::other)?;
        }
        Ok(RunProgress::default())
    }

    fn identity(&self) -> RunIdentity {
        RunIdentity {
            base: hex(&self.context.model.header().root),
            data: hex(&self.train.digest),
            valid: None,
            start: None,
            settings: self.settings.clone(),
        }
    }

    /// Writes the adapter, which says of which model it is.
    fn write(&self, trainer: &mut CpuTrainer, steps: u64) -> WorkResult<PathBuf> {
        let mut adapter = self.adapter(trainer)?;
        adapter.run = Some(format!(
            "seed {}, {steps} steps, data {}",
            self.how.seed,
            &hex(&self.train.digest)[..16]
        ));
        let path = adapter_path(self.context, &self.how.corpus);
        adapter.write(Target::new(&path, true), Encoding::F32).map_err(WorkError::other)?;
        Ok(path)
    }

    fn report(
        &self,
        before: &Look,
        after: &Look,
        (steps, is_whole): (u64, bool),
        path: &Path,
    ) -> TaskReport {
        let ratio = after.plain_loss / before.plain_loss;
        let cut = match is_whole {
            true => String::new(),
            false => format!(" after its time was up at step {steps}"),
        };
        let mut report = TaskReport::new(format!(
            "{} of {} held-out answers are right{cut}, {} before; plain text costs {ratio:.2} of \
             before; use it with --lora {}",
            after.right,
            after.asked,
            before.right,
            path.display()
        ))
        .with("valid_loss", after.valid_loss)
        .with("valid_loss_before", before.valid_loss)
        .with("plain_loss", after.plain_loss)
        .with("plain_loss_before", before.plain_loss)
        .with("retention_ratio", ratio)
        .with("steps", steps as f64)
        .with("lines", self.train.examples.len() as f64);
        if after.asked > 0 {
            let share = |right: usize| right as f64 / after.asked as f64;
            report = report
                .with("exact_match", share(after.right))
                .with("exact_match_before", share(before.right));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        report.files.push(name);
        report
    }
}

fn settings(how: &FineTune, train: &Dataset) -> RunSettings {
    let batch_tokens = how.batch_tokens.max(1) as usize;
    let feed = Feed::new(train.columns(), batch_tokens, how.seed);
    let steps = feed.steps(how.epochs.max(1)).min(how.steps.max(1));
    let schedule = Schedule {
        decay: Decay::Cosine,
        rate: how.rate,
        least: how.rate / LEAST_RATE,
        warmup: (WARMUP * steps as f64).round() as u64,
        steps,
    };
    let lora = LoraSettings { rank: how.rank as usize, ..LoraSettings::default() };
    RunSettings {
        training: TrainingSettings {
            what: Trained::Lora(lora),
            optimizer: AdamW::default(),
            schedule,
            seed: how.seed,
        },
        batch_tokens,
        epochs: None,
        data: "as the coach reads them".into(),
        evaluate_every: 0,
    }
}

/// Waits while the pause token is held, and counts the time in which it was not.
struct SliceClock<'a> {
    token: &'a PauseToken,
    limit: Option<Duration>,
    begun: Instant,
    held_micros: AtomicU64,
}

impl<'a> SliceClock<'a> {
    fn new(token: &'a PauseToken, limit: Option<Duration>) -> Self {
        Self { token, limit, begun: Instant::now(), held_micros: AtomicU64::new(0) }
    }

    /// Waits until work may go on; false if it is to end.
    fn goes_on(&self) -> bool {
        let asked = Instant::now();
        let goes_on = self.token.pass();
        let micros = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.held_micros.fetch_add(micros, Ordering::Relaxed);
        goes_on
    }

    /// Whether the time that was given is used up.
    fn is_over(&self) -> bool {
        let held = Duration::from_micros(self.held_micros.load(Ordering::Relaxed));
        self.limit.is_some_and(|limit| self.begun.elapsed().saturating_sub(held) >= limit)
    }
}

fn of_trainer(error: TrainError) -> WorkError {
    match error {
        TrainError::Stopped => WorkError::Cancelled,
        error => WorkError::other(error),
    }
}

fn of_run(error: TrainingRunError) -> WorkError {
    match error {
        TrainingRunError::Train(error) => of_trainer(error),
        error => WorkError::other(error),
    }
}
