//! Who does the tasks: takes the next one, does it, and carries its result to the queue, until nothing is left that
//! a program can do. The coaching loop is here: generate, review, accept or do it again with the feedback.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use jiff::Zoned;

use super::reviewer::{ReviewError, Reviewer, review_prompt, verdict};
use super::work::process::{self, ProcessError};
use super::work::{WorkError, Workshop};
use super::{Action, Agent, CoachError, Queue, Report, Status, Store, Task, TaskId};

/// The most bytes of a command's output that a report keeps.
const MAX_OUTPUT_BYTES: usize = 1 << 20;

/// What happened while tasks are done.
#[derive(Debug)]
pub enum Step<'a> {
    /// A task was begun.
    Began(&'a Task),
    /// What is being done.
    Doing(&'a str),
    /// A task is where it is now, after so much work.
    Ended(&'a Task, Duration),
}

/// Does tasks of a queue, one after the other.
pub struct Runner<'a> {
    store: &'a mut Store,
    shop: &'a Workshop<'a>,
    reviewer: Option<Reviewer>,
    cancel: &'a AtomicBool,
    /// Only this phase, or the current one.
    phase: Option<u32>,
    /// Tasks that wait for something that will not come during this run.
    waiting: HashSet<TaskId>,
}

/// What to do next.
enum Next {
    Work(Task),
    Review(Task),
}

/// What became of an attempt.
enum Outcome {
    Done(Report),
    Failed(String),
    Missing(String),
    Waits(String),
    Asks(String),
    Stopped,
}

impl<'a> Runner<'a> {
    /// A runner for a queue. `reviewer` is who stands for `gemini`.
    pub fn new(
        store: &'a mut Store,
        shop: &'a Workshop<'a>,
        reviewer: Option<Reviewer>,
        cancel: &'a AtomicBool,
        phase: Option<u32>,
    ) -> Self {
        Self { store, shop, reviewer, cancel, phase, waiting: HashSet::new() }
    }

    /// Does one task, or reviews one. False when there is nothing left that a program can do.
    ///
    /// # Errors
    /// The queue cannot be read or written. What goes wrong with a task is noted there instead.
    pub fn step(&mut self, tell: &mut dyn FnMut(Step<'_>)) -> Result<bool, CoachError> {
        if self.shop.is_cancelled() {
            return Ok(false);
        }
        let worker = self.store.worker("coach run", Agent::LocalLlm)?;
        let (phase, waiting) = (self.phase, &self.waiting);
        let next = self.store.change(|queue| {
            let Some(next) = choose(queue, phase, waiting) else { return Ok(None) };
            if let Next::Work(task) = &next {
                queue.start(&task.id, worker, &Zoned::now())?;
            }
            Ok(Some(next))
        })?;
        let start = Instant::now();
        let id = match next {
            None => return Ok(false),
            Some(Next::Work(task)) => {
                tell(Step::Began(&task));
                let outcome = self.work(&task, tell)?;
                self.settle(&task.id, outcome)?;
                task.id
            }
            Some(Next::Review(task)) => {
                tell(Step::Began(&task));
                self.review(&task)?;
                task.id
            }
        };
        let queue = self.store.read()?;
        tell(Step::Ended(queue.task(&id)?, start.elapsed()));
        Ok(true)
    }

    fn work(&self, task: &Task, tell: &mut dyn FnMut(Step<'_>)) -> Result<Outcome, CoachError> {
        Ok(match &task.action {
            Action::AskPerson { question } => Outcome::Asks(question.clone()),
            Action::Command { name } => self.command(name)?,
            Action::Review { of } => {
                let queue = self.store.read()?;
                match self.judge(queue.task(of)?, task.preferred_agent) {
                    Ok(verdict) => {
                        let summary = format!("{} gives {of} {} of 10", verdict.reviewer, verdict.score);
                        let mut report = Report::new(summary).with("score", verdict.score);
                        report.text = Some(verdict.feedback);
                        Outcome::Done(report)
                    }
                    Err(error) => of_review(&error),
                }
            }
            Action::Generate { prompt, max_tokens } => {
                let prompt = with_feedback(prompt, task);
                if task.preferred_agent == Agent::Gemini {
                    self.ask(&prompt)
                } else {
                    let action = Action::Generate { prompt, max_tokens: *max_tokens };
                    self.perform(&action, tell)
                }
            }
            action => self.perform(action, tell),
        })
    }

    fn perform(&self, action: &Action, tell: &mut dyn FnMut(Step<'_>)) -> Outcome {
        let done = self.shop.perform(action, &mut |what| tell(Step::Doing(&what)));
        match done {
            Ok(report) => Outcome::Done(report),
            Err(WorkError::Missing(feature)) => {
                Outcome::Missing(format!("this program has no {feature} yet"))
            }
            Err(WorkError::Cancelled) => Outcome::Stopped,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    /// Runs a command if the user has allowed it.
    fn command(&self, name: &str) -> Result<Outcome, CoachError> {
        let queue = self.store.read()?;
        let Some(command) = queue.commands().iter().find(|command| command.name == name) else {
            return Ok(Outcome::Failed(format!("the plan declares no command \"{name}\"")));
        };
        if !command.allowed {
            let line = command.line.join(" ");
            return Ok(Outcome::Waits(format!("leave to run `{line}`: coach allow {name}")));
        }
        Ok(match process::run(&command.line, "", command.seconds, MAX_OUTPUT_BYTES, self.cancel) {
            Ok(text) => {
                let mut report = Report::new(format!("{name} succeeded")).with("exit_code", 0.0);
                report.text = Some(text);
                Outcome::Done(report)
            }
            Err(error) => of_process(&error),
        })
    }

    fn ask(&self, prompt: &str) -> Outcome {
        let Some(reviewer) = &self.reviewer else { return Outcome::Waits("an agent \"gemini\"".into()) };
        match reviewer.ask(prompt, self.cancel) {
            Ok(text) => {
                let mut report = Report::new(format!("{} wrote {} bytes", reviewer.name, text.len()));
                report.text = Some(text);
                Outcome::Done(report)
            }
            Err(error) => of_process(&error),
        }
    }

    fn judge(&self, task: &Task, agent: Agent) -> Result<super::Verdict, ReviewError> {
        match (agent, &self.reviewer) {
            (Agent::Gemini, Some(reviewer)) => reviewer.review(task, self.cancel),
            (Agent::Gemini, None) => Err(ProcessError::Missing("gemini".into()).into()),
            _ => {
                let action = Action::Generate { prompt: review_prompt(task), max_tokens: 96 };
                let report = self.shop.perform(&action, &mut |_| ());
                let text = report.ok().and_then(|report| report.text).unwrap_or_default();
                verdict(&text, Agent::LocalLlm.name()).ok_or(ReviewError::Nonsense)
            }
        }
    }

    fn review(&mut self, task: &Task) -> Result<(), CoachError> {
        let agent = task.reviewer.unwrap_or_default();
        let now = Zoned::now();
        match self.judge(task, agent) {
            Ok(verdict) => self.store.change(|queue| queue.judge(&task.id, verdict, &now).map(|_| ())),
            Err(error) => {
                self.waiting.insert(task.id.clone());
                self.store.change(|queue| {
                    queue.note(&task.id, format!("the review by {agent} gave nothing: {error}"), &now)?;
                    queue.wait(&task.id, format!("a review by {agent}: {error}"), &now)
                })
            }
        }
    }

    fn settle(&mut self, id: &TaskId, outcome: Outcome) -> Result<(), CoachError> {
        let now = Zoned::now();
        if let Outcome::Waits(_) = outcome {
            self.waiting.insert(id.clone());
        }
        self.store.change(|queue| match outcome {
            Outcome::Done(report) => match queue.finish(id, report, &now) {
                Err(error @ CoachError::NotFinite { .. }) => {
                    queue.give_back(id, error.to_string(), &now).map(|_| ())
                }
                finished => finished.map(|_| ()),
            },
            Outcome::Failed(why) => queue.give_back(id, why, &now).map(|_| ()),
            Outcome::Missing(what) => queue.block_missing(id, what, &now),
            Outcome::Waits(what) => {
                queue.release(id, format!("given back: waits for {what}"), &now)?;
                queue.wait(id, what, &now)
            }
            Outcome::Asks(question) => queue.ask_person(id, &question, &now),
            Outcome::Stopped => queue.release(id, "stopped: given back", &now),
        })
    }
}

/// A review that waits, else the next task.
fn choose(queue: &Queue, phase: Option<u32>, waiting: &HashSet<TaskId>) -> Option<Next> {
    let phase = phase.or_else(|| queue.current_phase())?;
    let reviewable = |task: &&Task| {
        task.status == Status::Review
            && task.phase == phase
            && !task.needs_person
            && task.reviewer != Some(Agent::Human)
            && !waiting.contains(&task.id)
    };
    if let Some(task) = queue.tasks().iter().find(reviewable) {
        return Some(Next::Review(task.clone()));
    }
    let possible = |task: &&Task| {
        Agent::Auto.may_take(task.preferred_agent)
            && task.attempts < task.attempt_limit
            && !waiting.contains(&task.id)
    };
    queue.ready_in(phase).into_iter().find(possible).cloned().map(Next::Work)
}

fn with_feedback(prompt: &str, task: &Task) -> String {
    match &task.verdict {
        Some(verdict) => format!("{prompt}\n\nA reviewer said of the last try: {}", verdict.feedback),
        None => prompt.to_owned(),
    }
}

fn of_process(error: &ProcessError) -> Outcome {
    match error {
        ProcessError::Missing(_) => Outcome::Waits(error.to_string()),
        ProcessError::Cancelled => Outcome::Stopped,
        error => Outcome::Failed(error.to_string()),
    }
}

fn of_review(error: &ReviewError) -> Outcome {
    match error {
        ReviewError::Process(error) => of_process(error),
        ReviewError::Nonsense => Outcome::Failed(error.to_string()),
    }
}
