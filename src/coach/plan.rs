//! Plans: phases of tasks in RON, as people write them.
//!
//! In: the text of a plan. Out: a [`Queue`], or an error with file, line, column and the nearest
//! valid name.

use std::collections::HashSet;
use std::fs;

use jiff::Zoned;
use ron::extensions::Extensions;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    AgentKind, Check, CoachError, DEFAULT_ATTEMPT_LIMIT, Phase, PlanCommand, Queue, Task,
    TaskAction, TaskId, error::nearest,
};
use crate::content::assets::Assets;

/// The plan that is used when none is named.
pub(crate) const DEFAULT_PLAN: &str = "default";

/// The largest plan that is read: a plan is written by hand.
const MAX_PLAN_BYTES: u64 = 1 << 20;

/// A plan as it is written in its file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename = "Plan")]
pub(crate) struct PlanFile {
    name: String,
    phases: Vec<PhaseOfPlan>,
    #[serde(default)]
    commands: Vec<CommandOfPlan>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename = "Phase")]
struct PhaseOfPlan {
    name: String,
    #[serde(default)]
    description: String,
    tasks: Vec<TaskOfPlan>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename = "Task")]
struct TaskOfPlan {
    id: TaskId,
    title: String,
    #[serde(default)]
    description: String,
    action: TaskAction,
    priority: u8,
    #[serde(default)]
    dependencies: Vec<TaskId>,
    #[serde(default)]
    agent: AgentKind,
    acceptance: Option<Check>,
    reviewer: Option<AgentKind>,
    #[serde(default = "default_attempts")]
    attempts: u32,
}

const fn default_attempts() -> u32 {
    DEFAULT_ATTEMPT_LIMIT
}

/// A command has no word on whether it is allowed: that is the user's to say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename = "Command")]
struct CommandOfPlan {
    name: String,
    #[serde(rename = "command", alias = "line")]
    line: Vec<String>,
    #[serde(default = "default_seconds")]
    seconds: u32,
}

const fn default_seconds() -> u32 {
    60
}

/// Reads a plan by its name among the assets, or from a file.
///
/// # Errors
/// There is none, or it cannot be used.
pub fn load(name: &str, assets: &Assets, now: &Zoned) -> Result<Queue, CoachError> {
    // No asset is called so: it is a file's path.
    if name.contains(['/', '\\']) || name.ends_with(".ron") {
        return parse(name, &read(name.as_ref())?, now);
    }
    assets.content::<PlanFile>("plan", name)?.queue(now).map_err(|fault| *fault.error)
}

fn read(path: &std::path::Path) -> Result<String, CoachError> {
    let size = fs::metadata(path).map_err(CoachError::io(path, "read"))?.len();
    if size > MAX_PLAN_BYTES {
        let source =
            std::io::Error::other(format!("{size} bytes, and a plan has at most {MAX_PLAN_BYTES}"));
        return Err(CoachError::io(path, "read")(source));
    }
    crate::files::read_to_string(path).map_err(CoachError::io(path, "read"))
}

/// Reads the text of a plan; `file` is what errors call it.
///
/// # Errors
/// The text is no plan, or its tasks do not hold together. The error has the place and the nearest
/// valid name.
pub fn parse(file: &str, text: &str, now: &Zoned) -> Result<Queue, CoachError> {
    let plan: PlanFile = parse_ron(file, text)?;
    plan.queue(now).map_err(|fault| fault.in_text(file, text))
}

/// What does not hold together in a plan, and where.
#[derive(Debug)]
struct Fault {
    /// Boxed because it is large.
    error: Box<CoachError>,
    /// The task and the field of it that is to blame, and what stands there.
    at: Option<(TaskId, &'static str, String)>,
    /// The nearest name that would be right, where the error does not say it itself.
    nearest: Option<String>,
}

/// What does not hold together in a plan, and the path of the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanFault {
    /// The path, such as `phases[0].tasks[2].dependencies`.
    pub path: String,
    /// What is wrong, in words.
    pub reason: String,
    /// The nearest name that would be right, where the reason does not say it.
    pub nearest: Option<String>,
}

impl PlanFile {
    /// Everything that does not hold together, as far as it can be told at once.
    pub(crate) fn faults(&self) -> Vec<PlanFault> {
        let Err(fault) = self.clone().queue(&Zoned::now()) else { return Vec::new() };
        let path =
            fault.at.as_ref().map_or_else(String::new, |(id, field, _)| self.path_of(id, field));
        vec![PlanFault { path, reason: fault.error.to_string(), nearest: fault.nearest }]
    }

    /// The path of a task's field; of two tasks with one name, the second's.
    fn path_of(&self, id: &TaskId, field: &str) -> String {
        let all = self.phases.iter().enumerate().flat_map(|(phase, of)| {
            of.tasks.iter().enumerate().map(move |(task, of)| (phase, task, &of.id))
        });
        let found: Vec<_> = all.filter(|(.., known)| *known == id).collect();
        let at = if field == "id" { found.last() } else { found.first() };
        at.map_or_else(String::new, |(phase, task, _)| {
            format!("phases[{phase}].tasks[{task}].{field}")
        })
    }

    fn queue(self, now: &Zoned) -> Result<Queue, Fault> {
        let mut phases = Vec::new();
        let mut tasks = Vec::new();
        for (number, phase) in (1..).zip(self.phases) {
            phases.push(Phase { number, name: phase.name, description: phase.description });
            tasks.extend(phase.tasks.into_iter().map(|task| task_of(task, number, now)));
        }
        let commands: Vec<PlanCommand> = (self.commands.into_iter())
            .map(|c| PlanCommand { name: c.name, line: c.line, seconds: c.seconds })
            .collect();
        check_references(&tasks, &commands)?;
        let mut queue = Queue::new(self.name, phases, commands, tasks).map_err(Fault::of_task)?;
        queue.block_what_is_missing(now);
        Ok(queue)
    }
}

/// Reads RON, and gives errors their place and a hint.
pub(super) fn parse_ron<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, CoachError> {
    // What is there is meant: nobody should have to write Some(...) around it.
    let options = ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME);
    options.from_str(text).map_err(|error| {
        let nearest = match &error.code {
            ron::Error::NoSuchStructField { expected, found, .. }
            | ron::Error::NoSuchEnumVariant { expected, found, .. } => {
                nearest(found, expected.iter().copied())
            }
            _ => None,
        };
        let start = error.span.start;
        let (line, column) = (start.line, start.col);
        CoachError::Content {
            file: file.into(),
            line,
            column,
            reason: error.code.to_string(),
            nearest,
        }
    })
}

fn task_of(task: TaskOfPlan, phase: u32, now: &Zoned) -> Task {
    Task {
        description: task.description,
        phase,
        priority: task.priority,
        dependencies: task.dependencies,
        preferred_agent: task.agent,
        acceptance: task.acceptance,
        reviewer: task.reviewer,
        // With none it could never be begun, and its phase would never be over.
        attempt_limit: task.attempts.max(1),
        ..Task::new(task.id, task.title, task.action, now)
    }
}

/// Whether what actions name is there: commands, and tasks to review.
fn check_references(tasks: &[Task], commands: &[PlanCommand]) -> Result<(), Fault> {
    let of_commands: HashSet<&str> = commands.iter().map(|command| command.name.as_str()).collect();
    let of_tasks: HashSet<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
    for task in tasks {
        let (named, what, known) = match &task.action {
            TaskAction::Command { name } => (name.as_str(), "command", &of_commands),
            TaskAction::Review { of } => (of.as_str(), "task", &of_tasks),
            _ => continue,
        };
        if !known.contains(named) {
            // A set has no order, and the hint must be the same each time.
            let mut known: Vec<&str> = known.iter().copied().collect();
            known.sort_unstable();
            let reason = format!("{}: there is no {what} \"{named}\"", task.id);
            return Err(Fault {
                error: CoachError::Reference(reason).into(),
                at: Some((task.id.clone(), "action", named.to_owned())),
                nearest: nearest(named, known),
            });
        }
    }
    Ok(())
}

impl Fault {
    fn of_task(error: CoachError) -> Self {
        let at = match &error {
            CoachError::MissingDependency { id, dependency, .. } => {
                Some((id.clone(), "dependencies", dependency.to_string()))
            }
            CoachError::Cycle(path) => {
                Some((path[0].clone(), "dependencies", path.get(1).unwrap_or(&path[0]).to_string()))
            }
            CoachError::Duplicate(id) => Some((id.clone(), "id", id.to_string())),
            CoachError::Priority { id, .. } => Some((id.clone(), "priority", "priority".into())),
            _ => None,
        };
        Self { error: error.into(), at, nearest: None }
    }

    /// The error with its place in the plan's text.
    fn in_text(self, file: &str, text: &str) -> CoachError {
        let Some((id, field, needle)) = self.at else { return *self.error };
        let (line, column) = if field == "id" {
            let quoted = format!("\"{id}\"");
            line_and_column(text, text.match_indices(&quoted).nth(1).map_or(0, |(at, _)| at))
        } else {
            place(text, &id, &needle)
        };
        let (reason, nearest) = (self.error.to_string(), self.nearest);
        CoachError::Content { file: file.into(), line, column, reason, nearest }
    }
}

/// Where a task names something: the first place of it after the task's own name.
fn place(text: &str, id: &TaskId, needle: &str) -> (usize, usize) {
    // A task's name also stands where others depend on it; behind `id:` it is its own.
    let own = text.find(&format!("id: \"{id}\"")).or_else(|| text.find(&format!("\"{id}\"")));
    let own = own.unwrap_or(0);
    let after = own + id.as_str().len().min(text.len() - own);
    let at = text[after..].find(needle).map_or(own, |at| after + at);
    line_and_column(text, at)
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Reads one action as a plan writes it.
///
/// # Errors
/// The text is no action; the error has the column and the nearest valid name.
pub(crate) fn parse_action(text: &str) -> Result<TaskAction, CoachError> {
    parse_ron("action", text)
}
