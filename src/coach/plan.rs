//! Plans: phases of tasks in RON, as people write them.
//!
//! In: the text of a plan. Out: a [`Queue`], or an error with file, line, column and the nearest valid name.

use std::fs;

use jiff::Zoned;
use ron::extensions::Extensions;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Action, Agent, Check, CoachError, Command, DEFAULT_ATTEMPT_LIMIT, Phase, Queue, Task, TaskId,
    error::nearest,
};
use crate::assets::Assets;

/// The plan that is used when none is named.
pub const DEFAULT_PLAN: &str = "default";

/// The largest plan that is read: a plan is written by hand.
const MAX_PLAN_BYTES: u64 = 1 << 20;

/// The files of this module that travel inside the program, by their name among the assets.
const BUILT_IN: [(&str, &str); 2] = [
    ("coach/default.plan.ron", include_str!("../../assets/coach/default.plan.ron")),
    ("agents/gemini.agent.ron", include_str!("../../assets/agents/gemini.agent.ron")),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename = "Plan")]
struct PlanFile {
    name: String,
    phases: Vec<PhaseOfPlan>,
    #[serde(default)]
    commands: Vec<CommandOfPlan>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename = "Phase")]
struct PhaseOfPlan {
    name: String,
    #[serde(default)]
    description: String,
    tasks: Vec<TaskOfPlan>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename = "Task")]
struct TaskOfPlan {
    id: TaskId,
    title: String,
    #[serde(default)]
    description: String,
    action: Action,
    priority: u8,
    #[serde(default)]
    dependencies: Vec<TaskId>,
    #[serde(default)]
    agent: Agent,
    acceptance: Option<Check>,
    reviewer: Option<Agent>,
    #[serde(default = "default_attempts")]
    attempts: u32,
}

const fn default_attempts() -> u32 {
    DEFAULT_ATTEMPT_LIMIT
}

/// A command has no word on whether it is allowed: that is the user's to say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename = "Command")]
struct CommandOfPlan {
    name: String,
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
    let (file, text) = if name.contains(['/', '\\']) || name.ends_with(".ron") {
        (name.to_owned(), read(name.as_ref())?)
    } else {
        let asset = format!("coach/{name}.plan.ron");
        let text = asset_text(&asset, assets)?;
        (asset, text.ok_or_else(|| unknown_plan(name))?)
    };
    parse(&file, &text, now)
}

fn unknown_plan(name: &str) -> CoachError {
    let names =
        BUILT_IN.iter().filter_map(|(name, _)| name.strip_prefix("coach/")?.strip_suffix(".plan.ron"));
    let known: Vec<&str> = names.collect();
    let nearest = nearest(name, known.iter().copied());
    CoachError::UnknownPlan { name: name.into(), nearest, known: known.join(", ") }
}

/// The text of an asset: the overriding folder's, else the built-in one.
///
/// # Errors
/// The overriding file cannot be read.
pub(super) fn asset_text(name: &str, assets: &Assets) -> Result<Option<String>, CoachError> {
    match assets.overridden(name) {
        Some(path) => read(&path).map(Some),
        None => Ok(BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())),
    }
}

fn read(path: &std::path::Path) -> Result<String, CoachError> {
    let size = fs::metadata(path).map_err(CoachError::io(path, "read"))?.len();
    if size > MAX_PLAN_BYTES {
        let source = std::io::Error::other(format!("{size} bytes, and a plan has at most {MAX_PLAN_BYTES}"));
        return Err(CoachError::io(path, "read")(source));
    }
    fs::read_to_string(path).map_err(CoachError::io(path, "read"))
}

/// Reads the text of a plan; `file` is what errors call it.
///
/// # Errors
/// The text is no plan, or its tasks do not hold together. The error has the place and the nearest valid name.
pub fn parse(file: &str, text: &str, now: &Zoned) -> Result<Queue, CoachError> {
    let plan: PlanFile = parse_ron(file, text)?;
    let mut phases = Vec::new();
    let mut tasks = Vec::new();
    for (number, phase) in (1..).zip(plan.phases) {
        phases.push(Phase { number, name: phase.name, description: phase.description });
        tasks.extend(phase.tasks.into_iter().map(|task| task_of(task, number, now)));
    }
    let commands: Vec<Command> = (plan.commands.into_iter())
        .map(|c| Command { name: c.name, line: c.line, seconds: c.seconds })
        .collect();
    check_references(file, text, &tasks, &commands)?;
    let mut queue =
        Queue::new(plan.name, phases, commands, tasks).map_err(|error| at_task(file, text, error))?;
    queue.block_what_is_missing(now);
    Ok(queue)
}

/// Reads RON, and gives errors their place and a hint.
pub(super) fn parse_ron<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, CoachError> {
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
        CoachError::Content { file: file.into(), line, column, reason: error.code.to_string(), nearest }
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
        attempt_limit: task.attempts.max(1),
        ..Task::new(task.id, task.title, task.action, now)
    }
}

/// Whether what actions name is there: commands, and tasks to review.
fn check_references(file: &str, text: &str, tasks: &[Task], commands: &[Command]) -> Result<(), CoachError> {
    for task in tasks {
        let (named, what, known): (&str, &str, Vec<&str>) = match &task.action {
            Action::Command { name } => (name, "command", commands.iter().map(|c| c.name.as_str()).collect()),
            Action::Review { of } => (of.as_str(), "task", tasks.iter().map(|t| t.id.as_str()).collect()),
            _ => continue,
        };
        if !known.contains(&named) {
            let (line, column) = place(text, &task.id, named);
            let reason = format!("{}: there is no {what} \"{named}\"", task.id);
            let nearest = nearest(named, known);
            return Err(CoachError::Content { file: file.into(), line, column, reason, nearest });
        }
    }
    Ok(())
}

/// Adds the place in the text to what is wrong with a task.
fn at_task(file: &str, text: &str, error: CoachError) -> CoachError {
    let (id, needle) = match &error {
        CoachError::MissingDependency { id, dependency, .. } => (id, dependency.to_string()),
        CoachError::Cycle(path) => (&path[0], path.get(1).unwrap_or(&path[0]).to_string()),
        CoachError::Duplicate(id) => {
            let quoted = format!("\"{id}\"");
            let second = text.match_indices(&quoted).nth(1).map_or(0, |(at, _)| at);
            let (line, column) = line_and_column(text, second);
            let reason = error.to_string();
            return CoachError::Content { file: file.into(), line, column, reason, nearest: None };
        }
        CoachError::Priority { id, .. } => (id, "priority".into()),
        _ => return error,
    };
    let (line, column) = place(text, id, &needle);
    // The hint is in the message of the inner error already.
    CoachError::Content { file: file.into(), line, column, reason: error.to_string(), nearest: None }
}

/// Where a task names something: the first place of it after the task's own name.
fn place(text: &str, id: &TaskId, needle: &str) -> (usize, usize) {
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
pub fn parse_action(text: &str) -> Result<Action, CoachError> {
    parse_ron("action", text)
}
