//! What an agent does and why, on a card in an upper corner of the map: its scores, consideration
//! by consideration, and what else it thought of.

use std::sync::Arc;

use bevy_egui::egui;
use egui::{Align2, Color32, Id, Order, Pos2, Rect, RichText, Sense, Ui, Vec2, vec2};

use super::agents::energy_colour;
use crate::agents::{Activity, Agent, AgentMemory, Board, Consideration, JobId, Thoughts};
use crate::coach::Queue;
use crate::panel::style::{accent, faint, ink, solid};
use crate::terminal::one_line;
use crate::world::palette::Theme;

/// An agent as one sees it.
pub(crate) struct AgentView<'a> {
    pub agent: &'a Agent,
    pub energy: f32,
    /// What it is about.
    pub activity: Activity,
    pub thoughts: &'a Thoughts,
    pub memory: &'a AgentMemory,
    pub board: &'a Board,
    /// The tasks behind them.
    pub queue: Option<Arc<Queue>>,
    /// What its work says that it is doing.
    pub doing: Option<String>,
    /// Whether it has its place and its turn has not come.
    pub waits_for_a_bench: bool,
    /// Whether all work waits for the prompt.
    pub held: bool,
}

impl AgentView<'_> {
    /// What a job is called: by the task's title where there is a task.
    fn title(&self, job: JobId) -> String {
        let id = &self.board.entry(job).job.task;
        let task = self.queue.as_ref().and_then(|queue| queue.task(id).ok());
        task.map_or_else(|| id.to_string(), |task| task.title.clone())
    }

    fn activity(&self) -> String {
        match self.activity {
            Activity::Idle => "looks for work".into(),
            Activity::Resting => "rests".into(),
            Activity::Walking(job) => format!("walks to: {}", self.title(job)),
            Activity::Working(job) if self.waits_for_a_bench => {
                format!("waits for its turn: {}", self.title(job))
            }
            Activity::Working(job) if self.held => {
                format!("lets the prompt go first: {}", self.title(job))
            }
            Activity::Working(job) => format!("works on: {}", self.title(job)),
        }
    }
}

/// Width of a bar.
const BAR: f32 = 96.0;
/// Points between the card and the edges of the map; the bar above it has more.
const MARGIN: Vec2 = vec2(12.0, 52.0);

/// The corner of the card, and where it is: in the half of the map where the pointer is not, so
/// that it never lies on the agent or walks with it.
fn corner(map: Rect, pointer: Pos2) -> (Align2, Pos2) {
    if pointer.x < map.center().x {
        (Align2::RIGHT_TOP, map.right_top() + vec2(-MARGIN.x, MARGIN.y))
    } else {
        (Align2::LEFT_TOP, map.left_top() + MARGIN)
    }
}

pub(crate) fn show(
    context: &egui::Context,
    theme: Theme,
    (map, pointer): (Rect, Pos2),
    colour: Color32,
    seen: &AgentView<'_>,
) {
    // Not interactable: on the card the pointer would not be on the agent, and the card would go.
    let area = egui::Area::new(Id::new("agent card")).order(Order::Tooltip).interactable(false);
    let (pivot, at) = corner(map, pointer);
    area.pivot(pivot).fixed_pos(at).constrain(true).show(context, |ui| {
        let frame = egui::Frame::new()
            .fill(solid(theme))
            .stroke(egui::Stroke::new(1.0, colour.linear_multiply(0.8)))
            .corner_radius(8.0)
            .inner_margin(egui::Margin::same(10));
        frame.show(ui, |ui| {
            ui.set_max_width(300.0);
            ui.spacing_mut().item_spacing = vec2(8.0, 3.0);
            ui.horizontal(|ui| {
                let (dot, _) = ui.allocate_exact_size(vec2(11.0, 11.0), Sense::hover());
                ui.painter().circle_filled(dot.center(), 5.5, colour);
                ui.label(RichText::new(one_line(&seen.agent.name)).size(15.0).strong());
            });
            ui.label(
                RichText::new(one_line(&seen.agent.profile.description))
                    .size(11.5)
                    .color(faint(theme)),
            );
            ui.label(RichText::new(seen.activity()).size(13.0));
            if let Some(doing) = &seen.doing {
                ui.label(RichText::new(doing).size(11.5).color(accent(theme)));
            }
            row(ui, theme, "energy", seen.energy, energy_colour(seen.energy));
            why(ui, theme, colour, seen);
            let lately: Vec<&str> =
                seen.memory.0.iter().rev().take(3).map(|deed| deed.task.as_str()).collect();
            if !lately.is_empty() {
                ui.label(
                    RichText::new(format!("lately: {}", lately.join(", ")))
                        .size(11.0)
                        .color(faint(theme)),
                );
            }
        });
    });
}

/// The best job that it considered, with the appeal of each consideration, and the others with
/// their scores.
fn why(ui: &mut Ui, theme: Theme, colour: Color32, seen: &AgentView<'_>) {
    let Some(best) = seen.thoughts.considered.first() else {
        if seen.activity == Activity::Idle {
            ui.label(
                RichText::new("nothing on the board that it can do").size(11.5).color(faint(theme)),
            );
        }
        return;
    };
    ui.add_space(4.0);
    let against =
        format!("why: {:.2} for it, {:.2} for a rest", best.worth.score, seen.thoughts.rest);
    ui.label(RichText::new(against).size(12.5).strong());
    for (consideration, appeal) in Consideration::ALL.into_iter().zip(best.worth.appeals) {
        row(ui, theme, consideration.name(), appeal, colour);
    }
    for other in seen.thoughts.considered.iter().skip(1) {
        let text = format!("{:.2}  {}", other.worth.score, seen.title(other.job));
        ui.label(RichText::new(text).size(11.0).color(faint(theme)));
    }
}

/// A name, a bar and a number.
fn row(ui: &mut Ui, theme: Theme, name: &str, part: f32, colour: Color32) {
    ui.horizontal(|ui| {
        let (label, _) = ui.allocate_exact_size(vec2(56.0, 13.0), Sense::hover());
        let font = egui::FontId::proportional(11.5);
        ui.painter().text(label.left_center(), Align2::LEFT_CENTER, name, font, faint(theme));
        let (bar, _) = ui.allocate_exact_size(vec2(BAR, 7.0), Sense::hover());
        ui.painter().rect_filled(bar, 3.0, faint(theme).linear_multiply(0.25));
        let full = Rect::from_min_size(bar.min, vec2(BAR * part.clamp(0.0, 1.0), bar.height()));
        ui.painter().rect_filled(full, 3.0, colour);
        ui.label(RichText::new(format!("{part:.2}")).monospace().size(11.0).color(ink(theme)));
    });
}

#[cfg(test)]
mod tests {
    use bevy_egui::egui::pos2;

    use super::*;

    #[test]
    fn the_card_is_where_the_pointer_is_not() {
        let map = Rect::from_min_size(pos2(0.0, 0.0), vec2(800.0, 600.0));
        assert_eq!(corner(map, pos2(100.0, 90.0)), (Align2::RIGHT_TOP, pos2(788.0, 52.0)));
        assert_eq!(corner(map, pos2(700.0, 90.0)), (Align2::LEFT_TOP, pos2(12.0, 52.0)));
    }
}
