//! One task of the coach: what it is, what came of it, and what a person can say to it.

use std::sync::Arc;
use std::thread;

use bevy_egui::egui;
use egui::{RichText, Ui, vec2};
use jiff::Zoned;

use super::queue::{CoachPanel, RED, colour_of, found};
use crate::agents::QueueWorkers;
use crate::coach::{
    AgentKind, CoachError, Queue, SharedQueue, Status, Task, TaskAction, Worker, working_folder,
};
use crate::panel::controls::Explained;
use crate::panel::style::{accent, faint};
use crate::terminal;
use crate::world::palette::Theme;

/// Who says what is said here.
const PERSON: &str = "a person";
/// Events of its history that are shown.
const EVENTS: usize = 6;

pub(crate) fn draw(
    ui: &mut Ui,
    theme: Theme,
    crew: &QueueWorkers,
    queue: &Queue,
    panel: &mut CoachPanel,
) {
    let Some(task) = panel.task.as_ref().and_then(|id| queue.task(id).ok()) else {
        panel.task = None;
        return;
    };
    ui.spacing_mut().item_spacing = vec2(6.0, 4.0);
    let back = ui.button("All tasks").explained("back to the plan");
    about(ui, theme, task);
    ui.separator();
    say(ui, crew, queue, task, &mut panel.word);
    if back.clicked() {
        panel.task = None;
    }
}

fn about(ui: &mut Ui, theme: Theme, task: &Task) {
    ui.label(RichText::new(terminal::one_line(&task.title)).size(15.0).strong());
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(task.status.name()).size(12.0).color(colour_of(task.status, theme)));
        let facts = format!(
            "{}   priority {}   for {}   try {} of {}",
            task.action, task.priority, task.preferred_agent, task.attempts, task.attempt_limit
        );
        ui.label(RichText::new(facts).size(11.5).color(faint(theme)));
    });
    if !task.description.is_empty() {
        ui.label(RichText::new(terminal::lines(&task.description)).size(12.5));
    }
    if let TaskAction::AskPerson { question } = &task.action {
        ui.label(RichText::new(terminal::lines(question)).size(13.0).color(accent(theme)));
    }
    if task.report.is_none() || task.block.is_some() || task.waiting.is_some() {
        ui.label(RichText::new(terminal::one_line(&found(task))).size(12.0).color(accent(theme)));
    }
    if let Some(report) = &task.report {
        ui.label(RichText::new(terminal::one_line(&report.summary)).size(12.5));
        egui::Grid::new("metrics").spacing([12.0, 1.0]).show(ui, |ui| {
            for (name, value) in &report.metrics {
                ui.label(RichText::new(name).size(11.0).color(faint(theme)));
                ui.label(RichText::new(number(*value)).size(11.0).monospace());
                ui.end_row();
            }
        });
        if let Some(text) = &report.text {
            ui.label(RichText::new(terminal::lines(text)).size(11.5).italics());
        }
    }
    if let Some(verdict) = &task.verdict {
        let said =
            format!("{} gives {} of 10: {}", verdict.reviewer, verdict.score, verdict.feedback);
        ui.label(RichText::new(terminal::lines(&said)).size(12.0));
    }
    for event in task.history.iter().rev().take(EVENTS).rev() {
        let text = format!("{}  {}", event.at.strftime("%H:%M:%S"), event.what);
        ui.label(RichText::new(terminal::one_line(&text)).size(11.0).color(faint(theme)));
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e6).contains(&size) => format!("{value:.2e}"),
        _ if value.fract() == 0.0 => format!("{value}"),
        _ => format!("{value:.4}"),
    }
}

/// What a person can do with a task where it stands.
fn say(ui: &mut Ui, crew: &QueueWorkers, queue: &Queue, task: &Task, word: &mut String) {
    let desk = crew.runner().shared_queue();
    let edit =
        egui::TextEdit::singleline(word).hint_text("a word on it").desired_width(f32::INFINITY);
    ui.add(edit).explained("what you say of this task: it goes with what you choose below");
    let id = task.id.clone();
    let said = |usual: &str| {
        if word.trim().is_empty() { usual.to_owned() } else { word.trim().to_owned() }
    };
    let mut used = false;
    ui.horizontal_wrapped(|ui| {
        let open = matches!(task.status, Status::Pending | Status::InProgress | Status::Review);
        // A process holds a lock while it works; a person has none.
        let by_person = task.worker.as_ref().is_some_and(|worker| worker.lock.is_none());
        let mut button = |name: &str, words: &str| ui.button(name).explained(words).clicked();
        if task.status == Status::Pending && button("Do it myself", "no agent takes it meanwhile") {
            let id = id.clone();
            decide(desk, move |queue| {
                queue.start(&id, Worker::new(PERSON, AgentKind::Human), &Zoned::now())
            });
        }
        let accept = if by_person { "Done" } else { "Accept" };
        if open && button(accept, "it is as it should be; a check still has to pass") {
            let (id, word) = (id.clone(), said("accepted"));
            used = true;
            decide(desk, move |queue| queue.accept(&id, PERSON, &word, &Zoned::now()));
        }
        if by_person && button("Give back", "an agent may take it again") {
            let id = id.clone();
            decide(desk, move |queue| queue.release(&id, "a person gives it back", &Zoned::now()));
        }
        if open && button("Decline", "it has failed, for the reason that you write") {
            let (id, word) = (id.clone(), said("declined"));
            used = true;
            decide(desk, move |queue| queue.fail(&id, format!("{PERSON}: {word}"), &Zoned::now()));
        }
        let again = matches!(task.status, Status::Failed | Status::Review | Status::Blocked);
        if again && button("Try again", "it is open again, and its tries count anew") {
            let id = id.clone();
            decide(desk, move |queue| queue.retry(&id, &Zoned::now()));
            crew.try_again();
        }
        if task.status == Status::Pending
            && task.waiting.is_some()
            && button("Try now", "look at once whether what it waits for is there")
        {
            crew.try_again();
        }
        if !word.trim().is_empty() && button("Comment", "say it, and change nothing") {
            let (id, word) = (id.clone(), said(""));
            used = true;
            decide(desk, move |queue| queue.comment(&id, PERSON, &word, &Zoned::now()));
        }
        leave(ui, crew, queue, task);
    });
    if used {
        word.clear();
    }
}

/// For a task that runs a command: the user's leave.
fn leave(ui: &mut Ui, crew: &QueueWorkers, queue: &Queue, task: &Task) {
    let Some(consents) = crew.runner().allowed_commands() else { return };
    if let TaskAction::Promote { .. } = &task.action {
        return leave_to_promote(ui, crew, task);
    }
    let TaskAction::Command { name } = &task.action else { return };
    let Some(command) = queue.commands().iter().find(|command| command.name == *name) else {
        return;
    };
    // Only a task that said that it waits for leave asks for it: the file is not read in every
    // frame.
    if task.waiting.is_none() {
        return;
    }
    ui.colored_label(RED, terminal::command(&command.line));
    let words = "this command may run in this folder, now and later";
    if ui.button("Allow this command").explained(words).clicked() {
        match working_folder().and_then(|folder| consents.allow(&folder, &command.line, true)) {
            Ok(()) => crew.try_again(),
            Err(error) => crew.runner().shared_queue().note_problem(&error),
        }
    }
}

/// For a child that passed its gate: the user's leave to put it in the place of the current one.
fn leave_to_promote(ui: &mut Ui, crew: &QueueWorkers, task: &Task) {
    // The task says which child waits; its words are the command that a terminal would have.
    let Some(waiting) = &task.waiting else { return };
    let Some((_, digits)) = waiting.rsplit_once("coach allow promote-") else { return };
    let words = "it passed its gate; the one before can be gone back to";
    if ui.button(format!("Promote {digits}")).explained(words).clicked() {
        match crew.runner().allow_promotion(digits) {
            Ok(()) => crew.try_again(),
            Err(error) => crew.runner().shared_queue().note_problem(&error),
        }
    }
}

/// Changes the queue on a thread of its own: a frame waits for no disk.
fn decide(
    desk: &Arc<SharedQueue>,
    change: impl FnOnce(&mut Queue) -> Result<(), CoachError> + Send + 'static,
) {
    let desk = Arc::clone(desk);
    thread::spawn(move || {
        if let Err(error) = desk.change(change) {
            desk.note_problem(&error);
        }
    });
}
