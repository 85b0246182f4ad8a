//! A lesson: which step comes next, what came of it, and what is told of it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use bevy::platform::cell::SyncCell;
use bevy::prelude::Resource;

use super::desk::{Desk, DeskOpening, DeskWork, Learnt};
use super::gradient::GradientNorms;
use super::lines::{LessonData, LessonLines, read};
use super::questions::{Answering, PinnedQuestion};
use crate::content::assets::Assets;
use crate::model::{Encoding, PixelModel};
use crate::training::data::{DataPlace, Feed};
use crate::training::gpu::LearningReport;
use crate::training::optimizer::{AdamW, Decay, Schedule};
use crate::training::run::{EvaluationLine, LogLine, RunSettings, StepLine, in_batches};
use crate::training::{LoraSettings, LossSum, StepReport, Trained, TrainingSettings};
use crate::world::adapters::LoadedAdapters;

/// Works that are given ahead, so that no frame waits for the next one.
const AHEAD: usize = 2;
/// Looks at held-out lines in a lesson, beside the one before the first step.
const LOOKS: u64 = 8;

/// What a person chooses before a lesson.
#[derive(Debug, Clone, PartialEq)]
pub struct LessonSettings {
    /// What is learnt.
    pub data: LessonData,
    /// Lines that a corpus makes.
    pub lines: usize,
    /// How often all lines are learnt.
    pub epochs: u32,
    /// Tokens of a step.
    pub batch_tokens: usize,
    /// Rows of A, columns of B.
    pub rank: usize,
    /// The rate behind the warm-up.
    pub rate: f32,
    /// What everything that is drawn follows from.
    pub seed: u64,
}

impl Default for LessonSettings {
    fn default() -> Self {
        Self {
            data: LessonData::Corpus("record".into()),
            lines: 200,
            epochs: 10,
            batch_tokens: 256,
            rank: 8,
            rate: 1e-3,
            seed: 0,
        }
    }
}

impl LessonSettings {
    /// The run that it is, as `pixel-llm train` makes it with the same settings and its usual ones.
    pub fn run(&self, columns: Vec<usize>) -> RunSettings {
        let steps = Feed::new(columns, self.batch_tokens, self.seed).steps(self.epochs);
        let schedule = Schedule {
            decay: Decay::Cosine,
            rate: self.rate,
            least: self.rate / 10.0,
            warmup: (0.05 * steps as f64).round() as u64,
            steps,
        };
        let lora = LoraSettings { rank: self.rank, ..LoraSettings::default() };
        let training = TrainingSettings {
            what: Trained::Lora(lora),
            optimizer: AdamW::default(),
            schedule,
            seed: self.seed,
        };
        RunSettings {
            training,
            batch_tokens: self.batch_tokens,
            epochs: Some(self.epochs),
            data: "in the window".into(),
            evaluate_every: steps.div_ceil(LOOKS),
        }
    }
}

/// How far a lesson is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LessonStage {
    /// None was begun.
    #[default]
    Idle,
    /// Lines are read and checked.
    Reading,
    /// The model learns.
    Learning,
    /// It waits for a person.
    Paused,
    /// What was learnt is being fetched; nothing more is learnt.
    Ending,
    /// It is over: what was learnt lies over the model.
    Done,
}

/// A work that was given and has not come back.
enum Pending {
    Step {
        step: u64,
        next: DataPlace,
    },
    /// Whether it is the last of a look, and after how many steps that is.
    Look {
        step: u64,
        is_last: bool,
    },
}

/// What is asked of what was learnt so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LearntFor {
    /// Answers to the pinned questions.
    Answers,
    /// It is laid over the model.
    Adapter,
}

/// A lesson whose lines are there.
struct LessonRun {
    lines: LessonLines,
    settings: RunSettings,
    feed: Feed,
    place: DataPlace,
    /// Steps that were given.
    given: u64,
    /// The step after which the last look was given.
    looked: Option<u64>,
    pending: VecDeque<Pending>,
    sum: LossSum,
    last: Instant,
    answering: Option<Answering>,
    wanted: Option<LearntFor>,
}

impl LessonRun {
    fn is_answering(&self) -> bool {
        self.answering.as_ref().is_some_and(Answering::is_busy)
    }
}

/// What the model learns in the window.
#[derive(Resource, Default)]
pub struct Lesson {
    /// What the next one is like.
    pub settings: LessonSettings,
    /// How far it is.
    pub stage: LessonStage,
    /// What came of its steps and looks.
    pub log: Vec<LogLine>,
    /// Three held-out questions.
    pub questions: Vec<PinnedQuestion>,
    /// The gradient of the last step.
    pub gradient: Option<GradientNorms>,
    /// What went wrong, in words.
    pub problem: Option<String>,
    /// What a person is to be told once.
    pub(super) told: Option<String>,
    /// The step that a tour waits for; the end where there are fewer.
    pub(super) awaited: Option<u64>,
    /// Steps of the whole lesson.
    steps: u64,
    /// Steps made.
    done: u64,
    ends: bool,
    is_asked: bool,
    learnt_for: Duration,
    reading: Option<SyncCell<Receiver<Result<LessonLines, String>>>>,
    run: Option<Box<LessonRun>>,
}

impl Lesson {
    /// Begins a lesson with the settings, in the place of one before.
    pub fn begin(&mut self) {
        if self.is_under_way() {
            self.problem = Some("a lesson is under way: stop it first".into());
            return;
        }
        let settings = self.settings.clone();
        *self = Self { settings, awaited: self.awaited, ..Self::default() };
        (self.stage, self.is_asked) = (LessonStage::Reading, true);
    }

    /// Whether it is neither over nor not begun.
    pub fn is_under_way(&self) -> bool {
        !matches!(self.stage, LessonStage::Idle | LessonStage::Done) || self.is_answering()
    }

    fn is_answering(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.is_answering())
    }

    /// Whether a tour has to wait.
    pub(super) fn is_awaited(&self) -> bool {
        let is_over = !self.is_under_way();
        self.awaited.is_some_and(|step| !is_over && self.done < step)
    }

    /// Pauses it, or goes on. What was learnt so far lies over the model meanwhile.
    pub fn pause(&mut self) {
        self.stage = match self.stage {
            LessonStage::Learning => LessonStage::Paused,
            LessonStage::Paused => LessonStage::Learning,
            other => other,
        };
        if let Some(run) = &mut self.run {
            run.last = Instant::now();
            if self.stage == LessonStage::Paused {
                run.wanted = Some(LearntFor::Adapter);
            }
        }
    }

    /// Ends it: what was learnt so far lies over the model.
    pub fn stop(&mut self) {
        if matches!(self.stage, LessonStage::Learning | LessonStage::Paused) {
            self.ends = true;
        }
    }

    /// Steps made, and steps of the whole lesson.
    pub fn progress(&self) -> (u64, u64) {
        (self.done, self.steps)
    }

    /// The last step's line.
    pub fn last_step(&self) -> Option<&StepLine> {
        self.log.iter().rev().find_map(|line| match line {
            LogLine::Step(step) => Some(step),
            LogLine::Evaluation(_) => None,
        })
    }

    /// What is left to learn, by what the steps so far have taken.
    pub fn left(&self) -> Option<Duration> {
        let left = self.steps.checked_sub(self.done).filter(|_| self.done > 0)?;
        Some(self.learnt_for.mul_f64(left as f64 / self.done as f64))
    }

    /// Writes what was learnt, as a file that `--lora` takes.
    ///
    /// # Errors
    /// In words: there is nothing yet, or the file cannot be written.
    pub fn save(&self, path: &Path, loaded: &LoadedAdapters) -> Result<String, String> {
        let name = self.settings.data.name();
        let learnt = loaded.named(&name).ok_or("pause the lesson first: then it can be saved")?;
        if path.exists() {
            return Err(format!("{} is there already: choose another name", path.display()));
        }
        learnt.adapter.write(path, Encoding::F32).map_err(|error| error.to_string())?;
        Ok(format!("what was learnt is in {}: --lora takes it", path.display()))
    }

    /// Takes in what has come, and gives the next works.
    pub(super) fn go_on(
        &mut self,
        desk: &mut Desk,
        (model, assets): (&Arc<PixelModel>, &Assets),
        loaded: &mut LoadedAdapters,
    ) {
        if std::mem::take(&mut self.is_asked) {
            let LessonSettings { data, lines, seed, .. } = self.settings.clone();
            desk.closes = true;
            let reading = read(data, lines, seed, Arc::clone(model), assets.clone());
            self.reading = Some(SyncCell::new(reading));
        }
        self.take_lines(desk, model);
        let Some(mut run) = self.run.take() else { return };
        while let Some(report) = desk.reports.pop_front() {
            match report {
                Ok(report) => self.accept(&mut run, report),
                Err(why) => return self.fail(desk, why),
            }
        }
        if let Some(norms) = desk.gradient.take() {
            self.gradient = Some(norms);
        }
        if let Some((step, adapter)) = desk.learnt.take() {
            self.receive(&mut run, (step, adapter), loaded);
        }
        if let Some(answering) = &mut run.answering
            && let Some(why) = answering.take(&mut self.questions)
        {
            self.problem = Some(format!("the questions cannot be asked: {why}"));
        }
        self.give(&mut run, desk);
        self.end_if_due(&mut run, desk);
        // What the device held for it is free again; questions may still be answered.
        desk.closes |= self.stage == LessonStage::Done;
        self.run = Some(run);
    }

    /// Opens the trainer once the lines are there.
    fn take_lines(&mut self, desk: &mut Desk, model: &Arc<PixelModel>) {
        let Some(reading) = &mut self.reading else { return };
        let lines = match reading.get().try_recv() {
            Ok(Ok(lines)) => lines,
            Ok(Err(why)) => return self.fail(desk, why),
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => {
                return self.fail(desk, "the lines could not be read".into());
            }
        };
        self.reading = None;
        let settings = self.settings.run(lines.data.columns());
        let feed = Feed::new(lines.data.columns(), settings.batch_tokens, settings.training.seed);
        let of_valid = lines.valid.iter().flat_map(|valid| valid.columns());
        let longest = lines.data.columns().into_iter().chain(of_valid).max().unwrap_or(1);
        desk.opening = Some(DeskOpening {
            model: Arc::clone(model),
            settings: settings.training.clone(),
            columns: longest.max(settings.batch_tokens) as u32,
        });
        self.steps = settings.training.schedule.steps;
        let pinned = lines.valid.as_ref().unwrap_or(&lines.data);
        let (mut answering, questions) = Answering::new(model, &lines.text, pinned);
        if !questions.is_empty() {
            answering.ask(0, None);
        }
        self.questions = questions;
        self.run = Some(Box::new(LessonRun {
            lines,
            settings,
            feed,
            place: DataPlace::default(),
            given: 0,
            looked: None,
            pending: VecDeque::new(),
            sum: LossSum::default(),
            last: Instant::now(),
            answering: Some(answering),
            wanted: None,
        }));
        self.stage = LessonStage::Learning;
    }

    fn fail(&mut self, desk: &mut Desk, why: String) {
        desk.closes = true;
        self.problem = Some(why);
        (self.stage, self.run, self.reading) = (LessonStage::Done, None, None);
    }

    fn accept(&mut self, run: &mut LessonRun, report: LearningReport) {
        match (run.pending.pop_front(), report) {
            (Some(Pending::Step { step, next }), LearningReport::Step(report)) => {
                let took = run.last.elapsed();
                run.last = Instant::now();
                self.learnt_for += took;
                self.done = step;
                let epoch = run.feed.epochs(next);
                let rate = run.settings.training.schedule.at(step - 1);
                self.log.push(LogLine::Step(line(report, (step, epoch, rate), took)));
            }
            (Some(Pending::Look { step, is_last }), LearningReport::Look(sum)) => {
                run.sum.sum += sum.sum;
                run.sum.weight += sum.weight;
                run.last = Instant::now();
                if is_last {
                    let valid_loss = std::mem::take(&mut run.sum).mean();
                    let (right, asked) = (None, None);
                    let line = EvaluationLine { step, valid_loss, right, asked };
                    self.log.push(LogLine::Evaluation(line));
                    if step > 0 && run.wanted.is_none() {
                        run.wanted = Some(LearntFor::Answers);
                    }
                }
            }
            // Reports come in the order of the works.
            _ => {}
        }
    }

    /// Takes in what was learnt so far.
    fn receive(
        &mut self,
        run: &mut LessonRun,
        (step, adapter): Learnt,
        loaded: &mut LoadedAdapters,
    ) {
        let wanted = run.wanted.take();
        if wanted == Some(LearntFor::Adapter) && step > 0 {
            loaded.put(&self.settings.data.name(), adapter.clone(), 1.0);
        }
        // On the way those who are still at it are not asked again; at the end they are.
        let is_asked = step > 0 && (wanted == Some(LearntFor::Adapter) || !run.is_answering());
        if let Some(answering) = run.answering.as_mut().filter(|_| is_asked) {
            answering.ask(step, Some(adapter));
        }
        if self.stage == LessonStage::Ending {
            self.stage = LessonStage::Done;
            let made = format!("{step} of {} steps", self.steps);
            self.told = Some(format!("the lesson is over after {made}"));
        }
    }

    /// Gives works ahead.
    fn give(&mut self, run: &mut LessonRun, desk: &mut Desk) {
        while self.stage == LessonStage::Learning && !self.ends && run.pending.len() < AHEAD {
            let (given, every) = (run.given, run.settings.evaluate_every);
            let is_last = given >= self.steps;
            let due = given == 0 || is_last || given.is_multiple_of(every.max(1));
            match &run.lines.valid {
                Some(valid) if due && run.looked != Some(given) => {
                    run.looked = Some(given);
                    let batches = in_batches(&valid.columns(), run.settings.batch_tokens);
                    let count = batches.len();
                    for (at, examples) in batches.iter().enumerate() {
                        let sequences = valid.sequences(examples);
                        desk.work.push(DeskWork { sequences, rate: None });
                        let is_last = at + 1 == count;
                        run.pending.push_back(Pending::Look { step: given, is_last });
                    }
                }
                _ if is_last => return,
                _ => {
                    let next = run.feed.next(run.place, run.settings.epochs);
                    let Some((examples, next)) = next else { return };
                    let rate = Some(run.settings.training.schedule.at(given));
                    let sequences = run.lines.data.sequences(&examples);
                    desk.work.push(DeskWork { sequences, rate });
                    run.given += 1;
                    run.place = next;
                    run.pending.push_back(Pending::Step { step: run.given, next });
                }
            }
        }
    }

    /// Fetches what was learnt where somebody wants it, and ends.
    fn end_if_due(&mut self, run: &mut LessonRun, desk: &mut Desk) {
        let is_idle = run.pending.is_empty();
        let is_over = self.ends || (run.given >= self.steps && self.steps > 0);
        let may_end = matches!(self.stage, LessonStage::Learning | LessonStage::Paused);
        if is_idle && is_over && may_end {
            (self.stage, run.wanted) = (LessonStage::Ending, Some(LearntFor::Adapter));
        }
        // Of a pause it is what the last step left.
        let is_due = match run.wanted {
            Some(LearntFor::Adapter) => is_idle,
            Some(LearntFor::Answers) => true,
            None => false,
        };
        desk.wants_adapter = is_due;
    }
}

/// The line of a step, as `train --log` writes it.
fn line(report: StepReport, (step, epoch, rate): (u64, f64, f32), took: Duration) -> StepLine {
    StepLine {
        step,
        epoch,
        loss: report.loss,
        rate,
        gradient_norm: report.gradient_norm,
        targets: report.targets,
        columns: report.columns,
        tokens_per_second: report.columns as f64 / took.as_secs_f64().max(1e-9),
        memory_bytes: crate::memory::peak_in_bytes(),
    }
}
