//! Runs one task: agents of the world and the command line use the same functions.
//!
//! In: a task's name. Out: its report and status in the queue, and the outcome of the attempt. The
//! coaching loop is here: generate, review, accept or do it again with the feedback.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Zoned;

use super::reviewer::{ReviewError, Reviewer, review_prompt, verdict};
use super::work::lineage::{Promotion, report_of};
use super::work::process::{self, ProcessError};
use super::work::{ModelContext, WorkError, of_promotion};
use super::{
    AgentKind, AllowedCommands, CoachError, ReviewVerdict, SharedQueue, Status, Task, TaskAction,
    TaskId, TaskReport, working_folder,
};
use crate::lineage::short;
#[cfg(feature = "world")]
use crate::lineage::{LineageError, LineageStore};
use crate::terminal;

/// The most bytes of a command's output that a report keeps.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// Tokens of the loaded model's review.
const REVIEW_TOKENS: u32 = 96;

/// What happened while a task is done.
#[derive(Debug, Clone)]
pub enum TaskStep {
    /// Somebody began it: the task, and the worker's name.
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
enum WorkOutcome {
    Done(TaskReport),
    Failed(String),
    Missing(String),
    Waits(String),
    Asks(String),
    Stopped,
}

/// What tasks are done with.
pub struct TaskRunner {
    shared: Arc<SharedQueue>,
    context: ModelContext,
    reviewer: Option<Reviewer>,
    allowed_commands: Option<AllowedCommands>,
}

impl TaskRunner {
    /// A runner for the tasks of a queue. `reviewer` stands for `gemini`; without
    /// `allowed_commands` no command runs.
    pub fn new(
        shared: Arc<SharedQueue>,
        context: ModelContext,
        reviewer: Option<Reviewer>,
        allowed_commands: Option<AllowedCommands>,
    ) -> Self {
        Self { shared, context, reviewer, allowed_commands }
    }

    /// The queue that has the tasks.
    pub fn shared_queue(&self) -> &Arc<SharedQueue> {
        &self.shared
    }

    /// What work is done on.
    pub fn context(&self) -> &ModelContext {
        &self.context
    }

    /// The user's leave for commands.
    pub fn allowed_commands(&self) -> Option<&AllowedCommands> {
        self.allowed_commands.as_ref()
    }

    /// Does a task that is ready, or reviews one that waits for a review.
    ///
    /// # Errors
    /// The queue cannot be read or written. What goes wrong with the task is noted there instead.
    pub fn attempt(
        &self,
        id: &TaskId,
        worker: &str,
        tell: &mut (dyn FnMut(TaskStep) + Send),
    ) -> Result<Attempt, CoachError> {
        // Before the change, which holds the lock that this takes too.
        let begun = self.shared.worker(worker, AgentKind::LocalLlm)?;
        let started = self.shared.change(|queue| {
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
                // Others were faster, which is no fault of this worker.
                error @ (CoachError::Transition { .. }
                | CoachError::NotReady { .. }
                | CoachError::AttemptsUsed { .. }
                | CoachError::UnknownTask { .. }),
            ) => return Ok(Attempt::Taken(error.to_string())),
            Err(error) => return Err(error),
        };
        let start = Instant::now();
        tell(TaskStep::Began(Box::new(task.clone()), worker.to_owned()));
        let attempt = if task.status == Status::Review {
            self.review(&task)?
        } else {
            let outcome = self.work(&task, worker, tell);
            self.settle(id, outcome)?
        };
        self.shared.say(id, None);
        let queue = self.shared.queue();
        tell(TaskStep::Ended(Box::new(queue.task(id)?.clone()), start.elapsed()));
        Ok(attempt)
    }

    fn work(
        &self,
        task: &Task,
        worker: &str,
        tell: &mut (dyn FnMut(TaskStep) + Send),
    ) -> WorkOutcome {
        match &task.action {
            TaskAction::AskPerson { question } => WorkOutcome::Asks(question.clone()),
            TaskAction::Command { name } => self.command(name),
            TaskAction::Review { of } => match self.shared.queue().task(of) {
                Ok(other) => match self.judge(other, task.preferred_agent) {
                    Ok(verdict) => {
                        let summary =
                            format!("{} gives {of} {} of 10", verdict.reviewer, verdict.score);
                        let mut report = TaskReport::new(summary).with("score", verdict.score);
                        report.text = Some(verdict.feedback);
                        WorkOutcome::Done(report)
                    }
                    Err(error) => of_review(&error),
                },
                Err(error) => WorkOutcome::Failed(error.to_string()),
            },
            TaskAction::Generate { prompt, max_tokens } => {
                let prompt = with_feedback(prompt, task);
                if task.preferred_agent == AgentKind::Gemini {
                    self.ask(&prompt)
                } else {
                    let action = TaskAction::Generate { prompt, max_tokens: *max_tokens };
                    self.perform((&task.id, worker), &action, tell)
                }
            }
            TaskAction::Promote { made_by } => self.promote((&task.id, worker), made_by, tell),
            action => self.perform((&task.id, worker), action, tell),
        }
    }

    fn perform(
        &self,
        (id, worker): (&TaskId, &str),
        action: &TaskAction,
        tell: &mut (dyn FnMut(TaskStep) + Send),
    ) -> WorkOutcome {
        let done = self.context.perform_as(worker, action, &mut |what| {
            self.shared.say(id, Some(what.clone()));
            tell(TaskStep::Doing(id.clone(), what));
        });
        done.map_or_else(of_work, WorkOutcome::Done)
    }

    /// Has the gate measure a candidate, and promotes it with the user's leave.
    fn promote(
        &self,
        (id, worker): (&TaskId, &str),
        made_by: &str,
        tell: &mut (dyn FnMut(TaskStep) + Send),
    ) -> WorkOutcome {
        let folder = self.shared.folder();
        let may = |child: &str| self.may_promote(&folder, child);
        let promoted = self.context.promote_as((worker, made_by), &may, &mut |what| {
            self.shared.say(id, Some(what.clone()));
            tell(TaskStep::Doing(id.clone(), what));
        });
        match promoted {
            Ok(Promotion::Judged(judgement)) => WorkOutcome::Done(report_of(&judgement)),
            Ok(Promotion::Asks(child)) => WorkOutcome::Waits(format!(
                "leave to promote {}, which passed its gate: coach allow promote-{}",
                short(&child),
                short(&child)
            )),
            Err(error) => of_work(error),
        }
    }

    /// Gives a person's leave to promote a child of the lineage beside the queue.
    ///
    /// # Errors
    /// There is no such child, or the leave cannot be kept.
    #[cfg(feature = "world")]
    pub(crate) fn allow_promotion(&self, digits: &str) -> Result<(), CoachError> {
        let of_lineage = |error: LineageError| CoachError::Reference(error.to_string());
        let folder = self.shared.folder();
        let lineage = LineageStore::in_folder(&folder).read().map_err(of_lineage)?;
        let child = lineage.find(digits).map_err(of_lineage)?;
        let here = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        let Some(leave) = &self.allowed_commands else { return Ok(()) };
        leave.allow(&here, &of_promotion(child), true)
    }

    /// Whether a person has given leave to promote a child of the lineage in a folder.
    fn may_promote(&self, folder: &Path, child: &str) -> bool {
        let leave = self.allowed_commands.as_ref();
        // Leave that cannot be read is none.
        let here = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        leave.is_some_and(|it| it.allows(&here, &of_promotion(child)).unwrap_or(false))
    }

    /// Runs a command if the user has allowed it.
    fn command(&self, name: &str) -> WorkOutcome {
        let queue = self.shared.queue();
        let Some(command) = queue.commands().iter().find(|command| command.name == name) else {
            return WorkOutcome::Failed(format!("the plan declares no command \"{name}\""));
        };
        let allowed = self
            .allowed_commands
            .as_ref()
            .map(|allowed_commands| allowed_commands.allows(&working_folder()?, &command.line));
        match allowed.transpose() {
            Ok(Some(true)) => {}
            Ok(_) => {
                let words = terminal::command(&command.line);
                let named = command.short_name();
                return WorkOutcome::Waits(format!("leave to run {words}: coach allow {named}"));
            }
            // Leave that cannot be read is none.
            Err(error) => return WorkOutcome::Waits(format!("leave that can be read: {error}")),
        }
        let cancel = self.context.pause_token().cancellation();
        match process::run(&command.line, "", command.seconds, MAX_OUTPUT_BYTES, cancel) {
            Ok(text) => {
                let mut report =
                    TaskReport::new(format!("{name} succeeded")).with("exit_code", 0.0);
                report.text = Some(text);
                WorkOutcome::Done(report)
            }
            Err(error) => of_process(&error),
        }
    }

    fn ask(&self, prompt: &str) -> WorkOutcome {
        let Some(reviewer) = &self.reviewer else {
            return WorkOutcome::Waits("an agent \"gemini\"".into());
        };
        match reviewer.ask(prompt, self.context.pause_token().cancellation()) {
            Ok(text) => {
                let mut report =
                    TaskReport::new(format!("{} wrote {} bytes", reviewer.name, text.len()));
                report.text = Some(text);
                WorkOutcome::Done(report)
            }
            Err(error) => of_process(&error),
        }
    }

    fn judge(&self, task: &Task, agent: AgentKind) -> Result<ReviewVerdict, ReviewError> {
        match (agent, &self.reviewer) {
            (AgentKind::Gemini, Some(reviewer)) => {
                reviewer.review(task, self.context.pause_token().cancellation())
            }
            (AgentKind::Gemini, None) => Err(ProcessError::Missing("gemini".into()).into()),
            _ => {
                let action =
                    TaskAction::Generate { prompt: review_prompt(task), max_tokens: REVIEW_TOKENS };
                let report =
                    self.context.perform(&action, &mut |_| ()).map_err(|error| match error {
                        WorkError::Cancelled => ProcessError::Cancelled.into(),
                        error => ReviewError::Work(error.to_string()),
                    })?;
                let text = report.text.unwrap_or_default();
                verdict(&text, AgentKind::LocalLlm.name()).ok_or(ReviewError::Nonsense)
            }
        }
    }

    fn review(&self, task: &Task) -> Result<Attempt, CoachError> {
        let agent = task.reviewer.unwrap_or_default();
        let now = Zoned::now();
        let status = match self.judge(task, agent) {
            Ok(verdict) => self.shared.change(|queue| queue.judge(&task.id, verdict, &now)),
            // A reviewer that is not there makes the work no worse: it waits for one.
            Err(ReviewError::Process(error @ ProcessError::Missing(_))) => {
                let what = format!("a review by {agent}: {error}");
                self.shared.change(|queue| queue.wait(&task.id, what.clone(), &now))?;
                return Ok(Attempt::Waits(what));
            }
            // A review that was stopped is none: nothing is noted, and it does not count.
            Err(ReviewError::Process(ProcessError::Cancelled)) => {
                return Ok(Attempt::Open("stopped".into()));
            }
            Err(error) => {
                let why = format!("{agent}: {error}");
                self.shared.change(|queue| queue.review_gave_nothing(&task.id, &why, &now))
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

    fn settle(&self, id: &TaskId, outcome: WorkOutcome) -> Result<Attempt, CoachError> {
        let now = Zoned::now();
        let done = self.shared.change(|queue| match outcome {
            WorkOutcome::Done(report) => match queue.finish(id, report, &now) {
                // JSON cannot keep it, so that the work is at fault: the attempt counts.
                Err(error @ CoachError::NotFinite { .. }) => {
                    let why = error.to_string();
                    queue.give_back(id, why.clone(), &now).map(|_| Attempt::Open(why))
                }
                Ok(Status::Completed | Status::Review) => Ok(Attempt::Done),
                Ok(status) => Ok(Attempt::Open(format!("not accepted: it is {status}"))),
                Err(error) => Err(error),
            },
            WorkOutcome::Failed(why) => {
                queue.give_back(id, why.clone(), &now).map(|_| Attempt::Open(why))
            }
            WorkOutcome::Missing(what) => {
                queue.block_missing(id, what.clone(), &now).map(|()| Attempt::Open(what))
            }
            WorkOutcome::Waits(what) => {
                // Nothing was tried: the attempt does not count.
                queue.release(id, format!("given back: waits for {what}"), &now)?;
                queue.wait(id, what.clone(), &now)?;
                Ok(Attempt::Waits(what))
            }
            WorkOutcome::Asks(question) => {
                queue.ask_person(id, &question, &now).map(|()| Attempt::Open(question))
            }
            WorkOutcome::Stopped => queue
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

fn of_work(error: WorkError) -> WorkOutcome {
    match error {
        WorkError::Missing(_) => WorkOutcome::Missing(error.to_string()),
        WorkError::Cancelled => WorkOutcome::Stopped,
        error => WorkOutcome::Failed(error.to_string()),
    }
}

fn of_process(error: &ProcessError) -> WorkOutcome {
    match error {
        ProcessError::Missing(_) => WorkOutcome::Waits(error.to_string()),
        ProcessError::Cancelled => WorkOutcome::Stopped,
        error => WorkOutcome::Failed(error.to_string()),
    }
}

fn of_review(error: &ReviewError) -> WorkOutcome {
    match error {
        ReviewError::Process(error) => of_process(error),
        error => WorkOutcome::Failed(error.to_string()),
    }
}
