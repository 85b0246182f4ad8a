//! How tasks look on a terminal.

use std::fmt::Write;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::agents::AgentProfile;

use crate::coach::reviewer::Reviewer;
use crate::coach::{PhaseProgress, PlanCommand, Queue, Status, Task, TaskStep};
use crate::terminal::{self, one_line};

/// A sign for each status that is told apart without colours.
const fn sign(status: Status) -> &'static str {
    match status {
        Status::Pending => "·",
        Status::InProgress => "»",
        Status::Review => "?",
        Status::Completed => "✓",
        Status::Failed => "✗",
        Status::Blocked => "#",
    }
}

/// Cells of a phase's bar.
const BAR: usize = 10;

fn bar(progress: &PhaseProgress) -> String {
    // A phase without tasks has nothing left to do.
    let full = (progress.completed * BAR).checked_div(progress.tasks).unwrap_or(BAR);
    format!("{}{}", "■".repeat(full), "□".repeat(BAR - full))
}

/// All phases with their tasks, and what each found.
pub fn status(queue: &Queue, phase: Option<u32>) -> String {
    let titles = queue.tasks().iter().map(|task| one_line(&task.title).chars().count());
    let width = titles.max().unwrap_or(0);
    let mut text = queue.model().map_or_else(String::new, |model| {
        format!(" the queue of {}, root {:.12}\n", one_line(&model.name), one_line(&model.root))
    });
    let mut add =
        |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a String takes all text");
    for progress in queue.progress() {
        let of_phase = &progress.phase;
        if phase.is_some_and(|phase| phase != of_phase.number) {
            continue;
        }
        let current =
            if queue.current_phase() == Some(of_phase.number) { "  <- current" } else { "" };
        add(format_args!(
            "\n {}  {:<14} {}  {}/{}{current}",
            of_phase.number,
            one_line(&of_phase.name),
            bar(&progress),
            progress.completed,
            progress.tasks
        ));
        for task in queue.tasks().iter().filter(|task| task.phase == of_phase.number) {
            add(format_args!(
                "    {} {:<width$}  {}",
                sign(task.status),
                one_line(&task.title),
                said(task)
            ));
        }
    }
    let done = queue.tasks().iter().filter(|task| task.status == Status::Completed).count();
    add(format_args!("\n {done} of {} tasks completed", queue.tasks().len()));
    text
}

/// The most telling line about a task.
fn said(task: &Task) -> String {
    one_line(&words(task)).into_owned()
}

fn words(task: &Task) -> String {
    if let Some(block) = &task.block {
        return format!("blocked: {}", block.why);
    }
    if let Some(waiting) = &task.waiting {
        return format!("waits for {waiting}");
    }
    match (task.status, &task.report) {
        (Status::Completed, Some(report)) => report.summary.clone(),
        (Status::Pending, _) if task.history.is_empty() => String::new(),
        _ => task.history.last().map(|event| event.what.clone()).unwrap_or_default(),
    }
}

/// A task in one line.
pub fn line(task: &Task) -> String {
    let title = one_line(&task.title);
    format!("{} {}  {title}  [{}]  {}", sign(task.status), task.id, task.status, said(task))
}

/// All about a task.
pub fn task(task: &Task) -> String {
    let (title, description) = (one_line(&task.title), terminal::lines(&task.description));
    let mut text = format!("{} {title}\n  {description}\n", sign(task.status));
    // What was written has lines of its own; everything else is one row.
    let mut add = |name: &str, value: String| {
        let value = if name == "text" { terminal::lines(&value) } else { one_line(&value) };
        if !value.is_empty() {
            let name = one_line(name);
            writeln!(text, "  {name:<13} {value}").expect("a String takes all text");
        }
    };
    add("id", task.id.to_string());
    add("action", task.action.to_string());
    add("status", task.status.to_string());
    add("phase", task.phase.to_string());
    add("priority", task.priority.to_string());
    add("agent", task.preferred_agent.to_string());
    add("after", task.dependencies.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", "));
    add("attempts", format!("{} of {}", task.attempts, task.attempt_limit));
    add("blocked", task.block.as_ref().map(|block| block.why.clone()).unwrap_or_default());
    add("waits for", task.waiting.clone().unwrap_or_default());
    add("created", task.created.to_string());
    add("finished", task.finished.as_ref().map(ToString::to_string).unwrap_or_default());
    if let Some(verdict) = &task.verdict {
        add(
            "review",
            format!("{} of 10 by {}: {}", verdict.score, verdict.reviewer, verdict.feedback),
        );
    }
    if let Some(report) = &task.report {
        add("found", report.summary.clone());
        for (name, value) in &report.metrics {
            add("", format!("{name} = {value}"));
        }
        add("files", report.files.join(", "));
        add("text", report.text.clone().unwrap_or_default());
    }
    for event in &task.history {
        add(
            &event.at.strftime("%H:%M:%S").to_string(),
            format!("{}: {}", event.status, event.what),
        );
    }
    text
}

/// A command, and whether the user has allowed it.
#[derive(Serialize)]
pub struct Leave<'a> {
    /// The command: its name, its words and how long it may take.
    #[serde(flatten)]
    pub command: &'a PlanCommand,
    /// What stands for exactly its words where leave is given.
    pub id: String,
    /// Where it would run.
    pub folder: &'a Path,
    /// Whether it may run.
    pub allowed: bool,
}

/// The commands that a plan declares.
pub fn commands(commands: &[Leave<'_>]) -> String {
    if commands.is_empty() {
        return "the plan declares no commands".into();
    }
    let line = |Leave { command, id, allowed, .. }: &Leave<'_>| {
        let allowed = if *allowed { "allowed" } else { "not allowed" };
        let (name, words) = (one_line(&command.name), terminal::command(&command.line));
        format!("{name}  {allowed}  {words}  ({id}, at most {} s)\n", command.seconds)
    };
    // There is one at least, and all run in the same folder.
    let folder = commands[0].folder.display().to_string();
    let lines: String = commands.iter().map(line).collect();
    format!("{lines}they run in {}, with the environment of pixel-llm\n", one_line(&folder))
}

/// Who can do tasks here.
#[derive(Serialize)]
pub struct Agents {
    /// Who stands for `gemini`.
    pub reviewer: Option<Reviewer>,
    /// Kinds of agents that live in the world.
    pub kinds: Vec<AgentProfile>,
}

/// Who can do tasks here.
pub fn agents(agents: &Agents) -> String {
    let gemini = match &agents.reviewer {
        Some(reviewer) => {
            let program = reviewer.command.first().map_or("", String::as_str);
            let there =
                if is_installed(program) { "installed" } else { "not installed: its tasks wait" };
            let words = terminal::command(&reviewer.command);
            format!("command {words}, {there}; {} s at most", reviewer.seconds)
        }
        None => "there is none, or its command is not allowed: its tasks wait".into(),
    };
    let mut text = format!(
        "local_llm  the model that is loaded, by the agents of its world\n\
         gemini     {gemini}\nhuman      you: coach done, coach fail\n\n"
    );
    for kind in &agents.kinds {
        let skills: Vec<String> =
            kind.skills.iter().map(|(skill, level)| format!("{skill} {level}")).collect();
        let line = format!(
            "{} x {:<13} {}\n{:17}{}\n",
            kind.count,
            one_line(&kind.name),
            one_line(&kind.description),
            "",
            skills.join(", ")
        );
        text.push_str(&line);
    }
    text
}

fn is_installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    !program.is_empty()
        && std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// Tasks on standard error as they are done: a line each, and on a terminal what is being done.
pub(crate) struct Live {
    bar: ProgressBar,
    title: String,
    worker: String,
}

impl Live {
    /// A display of nothing yet; a bar only where standard error is a terminal.
    pub fn new() -> Self {
        // Indicatif draws nothing where standard error is no terminal.
        let bar = ProgressBar::new_spinner();
        let style =
            ProgressStyle::with_template("  {spinner} {msg}").expect("the template is well formed");
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, title: String::new(), worker: String::new() }
    }

    /// Shows a step; a task that ended gets a line of its own.
    pub fn tell(&mut self, step: &TaskStep) {
        match step {
            TaskStep::Began(task, worker) => {
                self.title = format!("{} ({worker})", one_line(&task.title));
                self.worker.clone_from(worker);
                self.bar.set_message(self.title.clone());
            }
            TaskStep::Doing(_, what) => {
                self.bar.set_message(format!("{}: {}", self.title, one_line(what)))
            }
            TaskStep::Ended(task, time) => {
                let seconds = time.as_secs_f64();
                let line = format!(
                    "  {} {seconds:>5.1} s  {:<14} {:<32} {}",
                    sign(task.status),
                    self.worker,
                    one_line(&task.title),
                    said(task)
                );
                // When standard error is closed there is nobody left to tell.
                self.bar.suspend(|| writeln!(terminal::stderr(), "{line}").unwrap_or_default());
            }
        }
    }

    /// Takes the bar away; the lines stay.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
