//! Losses by step: a line for the lines that are learnt, dots on a line for those held out.

use bevy_egui::egui;
use egui::{Align2, FontId, Pos2, Rect, Sense, Shape, Stroke, Ui, pos2, vec2};

use crate::panel::controls::Explained;
use crate::panel::frame::drawer::WIDE;
use crate::panel::style::{accent, faint, hairline, ink};
use crate::training::run::LogLine;
use crate::world::palette::Theme;

const TALL: f32 = 120.0;
/// LossPoints left of the curve for its numbers.
const NUMBERS: f32 = 30.0;

/// Losses below this are drawn as this: of 0 there is no logarithm.
const LEAST: f64 = 1e-4;

/// A loss and the steps before it.
type LossPoint = (u64, f64);

/// Losses of steps, and of looks at held-out lines.
fn points(log: &[LogLine]) -> (Vec<LossPoint>, Vec<LossPoint>) {
    let (mut learnt, mut held_out) = (Vec::new(), Vec::new());
    for line in log {
        match line {
            LogLine::Step(step) => learnt.push((step.step, step.loss)),
            LogLine::Evaluation(look) => held_out.push((look.step, look.valid_loss)),
        }
    }
    (learnt, held_out)
}

/// The one whose step is nearest.
fn nearest(points: &[LossPoint], step: f64) -> Option<LossPoint> {
    let far = |point: &&LossPoint| (point.0 as f64 - step).abs();
    points.iter().min_by(|a, b| far(a).total_cmp(&far(b))).copied()
}

/// Draws the losses of a lesson of so many steps; what is pointed at is told in numbers.
pub(super) fn draw(ui: &mut Ui, theme: Theme, log: &[LogLine], steps: u64) {
    let (learnt, held_out) = points(log);
    let losses = || learnt.iter().chain(&held_out).map(|point| point.1.max(LEAST));
    let (most, least) = (losses().fold(0.0, f64::max), losses().fold(f64::MAX, f64::min));
    let (place, response) = ui.allocate_exact_size(vec2(WIDE - 8.0, TALL), Sense::hover());
    let chart = Rect::from_min_max(place.min + vec2(NUMBERS, 4.0), place.max - vec2(4.0, 14.0));
    let painter = ui.painter();
    let write = |at: Pos2, align: Align2, text: String, colour| {
        painter.text(at, align, text, FontId::proportional(10.5), colour)
    };
    painter.hline(chart.x_range(), chart.bottom(), hairline(theme));
    painter.vline(chart.left(), chart.y_range(), hairline(theme));
    if most <= 0.0 || steps == 0 {
        return;
    }
    let spot = |(step, loss): LossPoint| {
        let across = step as f64 / steps as f64;
        // By its logarithm: it falls fast, then slowly.
        let up = (loss.max(LEAST) / least).ln() / (most / least).ln().max(1e-9);
        let up = up.clamp(0.0, 1.0);
        pos2(
            chart.left() + chart.width() * across as f32,
            chart.bottom() - chart.height() * up as f32,
        )
    };
    write(chart.left_top() - vec2(4.0, 0.0), Align2::RIGHT_TOP, format!("{most:.2}"), faint(theme));
    let at = chart.left_bottom() - vec2(4.0, 0.0);
    write(at, Align2::RIGHT_BOTTOM, format!("{least:.2}"), faint(theme));
    let under = chart.left_bottom() + vec2(0.0, 2.0);
    write(under, Align2::LEFT_TOP, "loss by step, in nats, by its logarithm".into(), faint(theme));
    let under = chart.right_bottom() + vec2(0.0, 2.0);
    write(under, Align2::RIGHT_TOP, steps.to_string(), faint(theme));
    let line = |points: &[LossPoint]| points.iter().map(|&point| spot(point)).collect::<Vec<_>>();
    let of_learnt = Stroke::new(1.0, faint(theme));
    painter.add(Shape::line(line(&learnt), of_learnt));
    painter.add(Shape::line(line(&held_out), Stroke::new(1.5, accent(theme))));
    for &point in &held_out {
        painter.circle_filled(spot(point), 2.5, accent(theme));
    }
    let pointed = response.hover_pos().filter(|at| chart.expand(4.0).contains(*at));
    if let Some(at) = pointed {
        let step = f64::from((at.x - chart.left()) / chart.width()) * steps as f64;
        let found = [("learnt", nearest(&learnt, step)), ("held out", nearest(&held_out, step))];
        for (row, (name, point)) in (0u8..).zip(found) {
            let Some(point) = point else { continue };
            painter.circle_stroke(spot(point), 4.0, Stroke::new(1.0, ink(theme)));
            let text = format!("{name} {:.3} at step {}", point.1, point.0);
            let at = chart.right_top() + vec2(-2.0, 13.0 * f32::from(row));
            write(at, Align2::RIGHT_TOP, text, ink(theme));
        }
    }
    response.explained("the loss of the lines that are learnt, and dotted that of those held out");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pointed_at_is_the_nearest_step() {
        let points = [(1, 2.0), (5, 1.0), (9, 0.5)];
        assert_eq!(nearest(&points, 3.4), Some((5, 1.0)));
        assert_eq!(nearest(&points, -7.0), Some((1, 2.0)));
        assert_eq!(nearest(&[], 3.0), None);
    }
}
