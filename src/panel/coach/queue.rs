//! The coach: the plan and how far it is, what waits for a person, the agents' time, and the layers
//! of colour.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, Color32, RichText, Sense, Ui, vec2};

use super::task;
use crate::agents::simulation::Clock;
use crate::agents::{QueueWorkers, WorkerPool};
use crate::coach::{PhaseProgress, Queue, Status, Task, TaskId};
use crate::panel::controls::{Explained, with_key};
use crate::panel::frame::drawer::show;
use crate::panel::style::{accent, faint, ink};
use crate::terminal::{lines, one_line};
use crate::world::agents::{WorldFile, save};
use crate::world::heatmap::Heatmaps;
use crate::world::keys::UserAction;
use crate::world::notices::Notices;
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};

/// How much faster than usual time may go, by buttons.
const SPEEDS: [f64; 4] = [1.0, 2.0, 4.0, 16.0];

/// What is looked at of the coach's plan, and what is typed.
#[derive(Resource, Debug, Clone, Default)]
pub struct CoachPanel {
    /// The task that is looked at.
    pub task: Option<TaskId>,
    /// A word on it that is being typed.
    pub word: String,
    /// Whether the state of the world is to be written.
    save: bool,
}

/// Whether the state of the world is to be written.
pub(crate) fn is_to_be_kept(panel: Res<CoachPanel>) -> bool {
    panel.save
}

/// Writes the state of the world.
pub(crate) fn keep(world: &mut World) {
    world.resource_mut::<CoachPanel>().save = false;
    let said = match save(world) {
        Ok(Some(path)) => format!("the world is kept in {}", path.display()),
        Ok(None) => "this world has no file".into(),
        Err(error) => error.to_string(),
    };
    world.resource_mut::<Notices>().tell(said);
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    settings: Res<Settings>,
    workers: Option<Res<QueueWorkers>>,
    pool: Option<Res<WorkerPool>>,
    clock: Option<ResMut<Clock>>,
    overlays: Option<ResMut<Heatmaps>>,
    file: Option<Res<WorldFile>>,
    mut panel: ResMut<CoachPanel>,
    drawer: Res<Drawer>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    show(context, theme, (&drawer, Tab::Coach), |ui| {
        let (Some(workers), Some(mut clock), Some(mut overlays)) = (workers, clock, overlays)
        else {
            ui.label("Nobody lives in this world: it was opened without agents.");
            return;
        };
        let queue = workers.runner().shared_queue().queue();
        ui.spacing_mut().item_spacing = vec2(6.0, 5.0);
        time(ui, theme, &mut clock, pool.as_deref());
        layers(ui, theme, &mut overlays);
        ui.add_space(2.0);
        if panel.task.is_some() {
            return task::draw(ui, theme, &workers, &queue, &mut panel);
        }
        for_you(ui, theme, &queue, &mut panel);
        phases(ui, theme, &queue, &workers, &mut panel);
        if let Some(problem) = workers.runner().shared_queue().problem() {
            ui.colored_label(crate::panel::style::wrong(theme), problem);
        }
        let words = "write where the agents are and what they do, for the next time";
        if file.is_some_and(|file| file.0.is_some())
            && ui.small_button("keep this world").explained(words).clicked()
        {
            // Written by `keep`, since it takes the world whole.
            panel.save = true;
        }
    });
    Ok(())
}

pub(crate) const RED: Color32 = Color32::from_rgb(0xE5, 0x53, 0x4B);
const GREEN: Color32 = Color32::from_rgb(0x57, 0xC9, 0x6B);

/// The colour of a status.
pub(crate) fn colour_of(status: Status, theme: Theme) -> Color32 {
    match status {
        Status::Pending | Status::Blocked => faint(theme),
        Status::InProgress => accent(theme),
        Status::Review => Color32::from_rgb(0x6C, 0xA8, 0xF5),
        Status::Completed => GREEN,
        Status::Failed => RED,
    }
}

/// A bar that is full up to a part.
pub(crate) fn bar(ui: &mut Ui, theme: Theme, part: f32, width: f32, colour: Color32) {
    let (rect, _) = ui.allocate_exact_size(vec2(width, 8.0), Sense::hover());
    ui.painter().rect_filled(rect, 4.0, faint(theme).linear_multiply(0.28));
    let full =
        egui::Rect::from_min_size(rect.min, vec2(width * part.clamp(0.0, 1.0), rect.height()));
    ui.painter().rect_filled(full, 4.0, colour);
}

/// The agents' time: stop, go on, faster.
fn time(ui: &mut Ui, theme: Theme, clock: &mut Clock, pool: Option<&WorkerPool>) {
    ui.horizontal(|ui| {
        let word = if clock.is_paused() { "Go on" } else { "Pause" };
        let words =
            with_key(ui.ctx(), "stops the agents, or lets them go on", UserAction::PauseAgents);
        if ui.button(word).explained(words).clicked() {
            let paused = !clock.is_paused();
            clock.set_paused(paused);
        }
        for speed in SPEEDS {
            let chosen = (clock.speed() - speed).abs() < 1e-9;
            let words = format!("the agents' time goes {speed} times as fast");
            let label = ui.selectable_label(chosen, format!("x{speed}"));
            if label.explained(words).clicked() {
                clock.set_speed(speed);
            }
        }
        let busy = match pool {
            Some(pool) if pool.on_hold => "waits for the prompt",
            Some(pool) if pool.busy() > 0 => "at work",
            _ => "",
        };
        let text = format!("tick {}  {busy}", clock.tick());
        ui.label(RichText::new(text).size(11.0).color(faint(theme)));
    });
}

/// What surveys have found, as layers of colour.
fn layers(ui: &mut Ui, theme: Theme, overlays: &mut Heatmaps) {
    if overlays.all.is_empty() {
        return;
    }
    let mut chosen = overlays.shown.clone();
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new("layer").size(12.0).color(faint(theme)));
        let none = ui.selectable_label(chosen.is_none(), "none");
        if none.explained("no survey's colours on the map").clicked() {
            chosen = None;
        }
        for overlay in &overlays.all {
            let is_chosen = chosen.as_deref() == Some(overlay.name);
            if ui.selectable_label(is_chosen, overlay.name).explained(overlay.title).clicked() {
                chosen = Some(overlay.name.to_owned());
            }
        }
    });
    if chosen != overlays.shown {
        overlays.shown = chosen;
    }
}

/// What waits for a person's word.
fn for_you(ui: &mut Ui, theme: Theme, queue: &Queue, panel: &mut CoachPanel) {
    let asked = queue.for_persons();
    if asked.is_empty() {
        return;
    }
    ui.label(RichText::new("for you").size(13.5).strong().color(accent(theme)));
    for task in asked {
        line(ui, theme, task, task.waiting.as_deref(), panel);
    }
    ui.add_space(4.0);
}

fn phases(
    ui: &mut Ui,
    theme: Theme,
    queue: &Queue,
    workers: &QueueWorkers,
    panel: &mut CoachPanel,
) {
    let current = queue.current_phase();
    for progress in queue.progress() {
        heading(ui, theme, &progress, current == Some(progress.phase.number));
        for task in queue.tasks().iter().filter(|task| task.phase == progress.phase.number) {
            let doing = workers.runner().shared_queue().doing(&task.id);
            line(ui, theme, task, doing.as_deref(), panel);
        }
    }
}

fn heading(ui: &mut Ui, theme: Theme, progress: &PhaseProgress, is_current: bool) {
    ui.add_space(4.0);
    let row = ui.horizontal(|ui| {
        let name = format!("{}  {}", progress.phase.number, one_line(&progress.phase.name));
        let colour = if is_current { ink(theme) } else { faint(theme) };
        let (place, _) = ui.allocate_exact_size(vec2(136.0, 16.0), Sense::hover());
        let font = egui::FontId::proportional(13.5);
        ui.painter().text(place.left_center(), Align2::LEFT_CENTER, name, font, colour);
        bar(ui, theme, progress.completed as f32 / progress.tasks.max(1) as f32, 90.0, GREEN);
        let count = format!("{}/{}", progress.completed, progress.tasks);
        ui.label(RichText::new(count).size(11.5).color(faint(theme)));
        if is_current {
            ui.label(RichText::new("now").size(11.5).color(accent(theme)));
        }
    });
    row.response.on_hover_text(lines(&progress.phase.description).into_owned());
}

/// A task in a line or two; a click looks at it.
fn line(ui: &mut Ui, theme: Theme, task: &Task, doing: Option<&str>, panel: &mut CoachPanel) {
    let colour = colour_of(task.status, theme);
    let inner = ui.horizontal(|ui| {
        let (dot, _) = ui.allocate_exact_size(vec2(12.0, 14.0), Sense::hover());
        let painter = ui.painter();
        match task.status {
            Status::Pending => {
                painter.circle_stroke(dot.center(), 4.0, egui::Stroke::new(1.4, colour));
            }
            Status::Blocked => {
                // Pending has the same faint colour: the bar across tells the two apart.
                let side = vec2(3.6, 0.0);
                painter.circle_stroke(dot.center(), 4.4, egui::Stroke::new(1.2, colour));
                painter.line_segment(
                    [dot.center() - side, dot.center() + side],
                    egui::Stroke::new(1.4, colour),
                );
            }
            _ => drop(painter.circle_filled(dot.center(), 4.6, colour)),
        }
        let text = RichText::new(one_line(&task.title)).size(12.5);
        let text = match task.status {
            Status::Pending | Status::Blocked => text.color(faint(theme)),
            _ => text.color(ink(theme)),
        };
        ui.add(egui::Label::new(text).truncate().selectable(false));
        if let Some(worker) = &task.worker {
            ui.label(RichText::new(&worker.name).size(11.0).color(accent(theme)));
        }
    });
    let response = inner.response.interact(Sense::click()).explained(found(task));
    if response.clicked() {
        panel.task = Some(task.id.clone());
        // What was typed was about another task.
        panel.word.clear();
    }
    if let Some(doing) = doing {
        ui.horizontal(|ui| {
            ui.add_space(18.0);
            ui.add(
                egui::Label::new(RichText::new(one_line(doing)).size(11.0).color(faint(theme)))
                    .truncate(),
            );
        });
    }
}

/// The most telling line about a task.
pub(crate) fn found(task: &Task) -> String {
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
        _ => {
            task.history.last().map_or_else(|| task.status.to_string(), |event| event.what.clone())
        }
    }
}
