//! Runs one task: agents of the world and the command line use the same functions.
//!
//! In: a task's name. Out: its report and status in the queue, and the outcome of the attempt. The
//! coaching loop is here: generate, review, accept or do it again with the feedback.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Zoned;

use super::reviewer::{ReviewError, Reviewer, review_prompt, verdict};
use super::work::process::{self, ProcessError};
use super::work::{ModelContext, WorkError};
use super::{
    Action, Agent, AllowedCommands, CoachError, Report, SharedQueue, Status, Task, TaskId, Verdict,
    working_folder,
};
use crate::terminal;

/// The most bytes of a command's output that a report keeps.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// Tokens of the loaded model's review.
const REVIEW_TOKENS: u32 = 96;

/// What happened while a task is done.
#[derive(Debug, Clone)]
pub enum Step {
    /// Somebody began it.
    Began(Box<Task>, String),
    /// What is being done.
    Doing(TaskId, String),
    /// It is where it is now, after so much work.
    Ended(Box<Task>, Duration),
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The task is completed, or done and handed to its reviewer.
    Done,
    /// It is not; the queue says what is next.
    Open(String),
    /// It waits for something that will not come by itself.
    Waits(String),
    /// Somebody else was faster, or it cannot be begun any more.
    Taken(String),
}

/// What the work came to.
enum Outcome {
    Done(Report),
    Failed(String),
    Missing(String),
    Waits(String),
    Asks(String),
    Stopped,
}

/// What tasks are done with.
pub struct TaskRunner {
    desk: Arc<SharedQueue>,
    shop: ModelContext,
    reviewer: Option<Reviewer>,
    consents: Option<AllowedCommands>,
}

impl TaskRunner {
    /// Hands for the tasks of a desk. `reviewer` is who stands for `gemini`; without `consents` no
    /// command runs.
    pub fn new(
        desk: Arc<SharedQueue>,
        shop: ModelContext,
        reviewer: Option<Reviewer>,
        consents: Option<AllowedCommands>,
    ) -> Self {
        Self { desk, shop, reviewer, consents }
    }

    /// The queue.
    pub fn desk(&self) -> &Arc<SharedQueue> {
        &self.desk
    }

    /// What work is done on.
    pub fn shop(&self) -> &ModelContext {
        &self.shop
    }

    /// The user's leave for commands.
    pub fn consents(&self) -> Option<&AllowedCommands> {
        self.consents.as_ref()
    }

    /// Does a task that is ready, or reviews one that waits for a review.
    ///
    /// # Errors
    /// The queue cannot be read or written. What goes wrong with the task is noted there instead.
    pub fn attempt(
        &self,
        id: &TaskId,
        worker: &str,
        tell: &mut (dyn FnMut(Step) + Send),
    ) -> Result<Attempt, CoachError> {
        let begun = self.desk.worker(worker, Agent::LocalLlm)?;
        let started = self.desk.change(|queue| {
            let task = queue.task(id)?;
            if task.status == Status::Review && !task.needs_person {
                return Ok(task.clone());
            }
            queue.start(id, begun, &Zoned::now())?;
            Ok(queue.task(id)?.clone())
        });
        let task = match started {
            Ok(task) => task,
            Err(
                error @ (CoachError::Transition { .. }
                | CoachError::NotReady { .. }
                | CoachError::AttemptsUsed { .. }
                | CoachError::UnknownTask { .. }),
            ) => return Ok(Attempt::Taken(error.to_string())),
            Err(error) => return Err(error),
        };
        let start = Instant::now();
        tell(Step::Began(Box::new(task.clone()), worker.to_owned()));
        let attempt = if task.status == Status::Review {
            self.review(&task)?
        } else {
            let outcome = self.work(&task, tell);
            self.settle(id, outcome)?
        };
        self.desk.say(id, None);
        let queue = self.desk.queue();
        tell(Step::Ended(Box::new(queue.task(id)?.clone()), start.elapsed()));
        Ok(attempt)
    }

    fn work(&self, task: &Task, tell: &mut (dyn FnMut(Step) + Send)) -> Outcome {
        match &task.action {
            Action::AskPerson { question } => Outcome::Asks(question.clone()),
            Action::Command { name } => self.command(name),
            Action::Review { of } => match self.desk.queue().task(of) {
                Ok(other) => match self.judge(other, task.preferred_agent) {
                    Ok(verdict) => {
                        let summary =
                            format!("{} gives {of} {} of 10", verdict.reviewer, verdict.score);
                        let mut report = Report::new(summary).with("score", verdict.score);
                        report.text = Some(verdict.feedback);
                        Outcome::Done(report)
                    }
                    Err(error) => of_review(&error),
                },
                Err(error) => Outcome::Failed(error.to_string()),
            },
            Action::Generate { prompt, max_tokens } => {
                let prompt = with_feedback(prompt, task);
                if task.preferred_agent == Agent::Gemini {
                    self.ask(&prompt)
                } else {
                    let action = Action::Generate { prompt, max_tokens: *max_tokens };
                    self.perform(&task.id, &action, tell)
                }
            }
            action => self.perform(&task.id, action, tell),
        }
    }

    fn perform(
        &self,
        id: &TaskId,
        action: &Action,
        tell: &mut (dyn FnMut(Step) + Send),
    ) -> Outcome {
        let done = self.shop.perform(action, &mut |what| {
            self.desk.say(id, Some(what.clone()));
            tell(Step::Doing(id.clone(), what));
        });
        match done {
            Ok(report) => Outcome::Done(report),
            Err(error @ WorkError::Missing(_)) => Outcome::Missing(error.to_string()),
            Err(WorkError::Cancelled) => Outcome::Stopped,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    /// Runs a command if the user has allowed it.
    fn command(&self, name: &str) -> Outcome {
        let queue = self.desk.queue();
        let Some(command) = queue.commands().iter().find(|command| command.name == name) else {
            return Outcome::Failed(format!("the plan declares no command \"{name}\""));
        };
        let allowed = self
            .consents
            .as_ref()
            .map(|consents| consents.allows(&working_folder()?, &command.line));
        match allowed.transpose() {
            Ok(Some(true)) => {}
            Ok(_) => {
                let words = terminal::command(&command.line);
                let named = command.short_name();
                return Outcome::Waits(format!("leave to run {words}: coach allow {named}"));
            }
            // Leave that cannot be read is none.
            Err(error) => return Outcome::Waits(format!("leave that can be read: {error}")),
        }
        let cancel = self.shop.gate().cancellation();
        match process::run(&command.line, "", command.seconds, MAX_OUTPUT_BYTES, cancel) {
            Ok(text) => {
                let mut report = Report::new(format!("{name} succeeded")).with("exit_code", 0.0);
                report.text = Some(text);
                Outcome::Done(report)
            }
            Err(error) => of_process(&error),
        }
    }

    fn ask(&self, prompt: &str) -> Outcome {
        let Some(reviewer) = &self.reviewer else {
            return Outcome::Waits("an agent \"gemini\"".into());
        };
        match reviewer.ask(prompt, self.shop.gate().cancellation()) {
            Ok(text) => {
                let mut report =
                    Report::new(format!("{} wrote {} bytes", reviewer.name, text.len()));
                report.text = Some(text);
                Outcome::Done(report)
            }
            Err(error) => of_process(&error),
        }
    }

    fn judge(&self, task: &Task, agent: Agent) -> Result<Verdict, ReviewError> {
        match (agent, &self.reviewer) {
            (Agent::Gemini, Some(reviewer)) => {
                reviewer.review(task, self.shop.gate().cancellation())
            }
            (Agent::Gemini, None) => Err(ProcessError::Missing("gemini".into()).into()),
            _ => {
                let action =
                    Action::Generate { prompt: review_prompt(task), max_tokens: REVIEW_TOKENS };
                let report =
                    self.shop.perform(&action, &mut |_| ()).map_err(|error| match error {
                        WorkError::Cancelled => ProcessError::Cancelled.into(),
                        error => ReviewError::Work(error.to_string()),
                    })?;
                let text = report.text.unwrap_or_default();
                verdict(&text, Agent::LocalLlm.name()).ok_or(ReviewError::Nonsense)
            }
        }
    }

    fn review(&self, task: &Task) -> Result<Attempt, CoachError> {
        let agent = task.reviewer.unwrap_or_default();
        let now = Zoned::now();
        let status = match self.judge(task, agent) {
            Ok(verdict) => self.desk.change(|queue| queue.judge(&task.id, verdict, &now)),
            // A reviewer that is not there makes the work no worse: it waits for one.
            Err(ReviewError::Process(error @ ProcessError::Missing(_))) => {
                let what = format!("a review by {agent}: {error}");
                self.desk.change(|queue| queue.wait(&task.id, what.clone(), &now))?;
                return Ok(Attempt::Waits(what));
            }
            Err(ReviewError::Process(ProcessError::Cancelled)) => {
                return Ok(Attempt::Open("stopped".into()));
            }
            Err(error) => {
                let why = format!("{agent}: {error}");
                self.desk.change(|queue| queue.review_gave_nothing(&task.id, &why, &now))
            }
        };
        match status {
            Ok(Status::Completed) => Ok(Attempt::Done),
            Ok(status) => Ok(Attempt::Open(format!("after its review it is {status}"))),
            // Somebody else has judged it meanwhile.
            Err(error @ CoachError::Transition { .. }) => Ok(Attempt::Taken(error.to_string())),
            Err(error) => Err(error),
        }
    }

    fn settle(&self, id: &TaskId, outcome: Outcome) -> Result<Attempt, CoachError> {
        let now = Zoned::now();
        let done = self.desk.change(|queue| match outcome {
            Outcome::Done(report) => match queue.finish(id, report, &now) {
                Err(error @ CoachError::NotFinite { .. }) => {
                    let why = error.to_string();
                    queue.give_back(id, why.clone(), &now).map(|_| Attempt::Open(why))
                }
                Ok(Status::Completed | Status::Review) => Ok(Attempt::Done),
                Ok(status) => Ok(Attempt::Open(format!("not accepted: it is {status}"))),
                Err(error) => Err(error),
            },
            Outcome::Failed(why) => {
                queue.give_back(id, why.clone(), &now).map(|_| Attempt::Open(why))
            }
            Outcome::Missing(what) => {
                queue.block_missing(id, what.clone(), &now).map(|()| Attempt::Open(what))
            }
            Outcome::Waits(what) => {
                queue.release(id, format!("given back: waits for {what}"), &now)?;
                queue.wait(id, what.clone(), &now)?;
                Ok(Attempt::Waits(what))
            }
            Outcome::Asks(question) => {
                queue.ask_person(id, &question, &now).map(|()| Attempt::Open(question))
            }
            Outcome::Stopped => queue
                .release(id, "stopped: given back", &now)
                .map(|()| Attempt::Open("stopped".into())),
        });
        match done {
            // A person had a word on it meanwhile, and that stands.
            Err(error @ CoachError::Transition { .. }) => Ok(Attempt::Taken(error.to_string())),
            done => done,
        }
    }
}

fn with_feedback(prompt: &str, task: &Task) -> String {
    match &task.verdict {
        Some(verdict) => {
            format!("{prompt}\n\nA reviewer said of the last try: {}", verdict.feedback)
        }
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
        error => Outcome::Failed(error.to_string()),
    }
}
