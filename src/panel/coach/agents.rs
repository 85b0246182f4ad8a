//! Agents on the map: where each is, where it goes, what it does; and, under the pointer, why.
//!
//! Who has nothing to do waits off the land, on a quay at its south-eastern corner.

use std::collections::HashMap;

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, Color32, FontId, Painter, Pos2, Rect, Shape, Stroke, Vec2, pos2, vec2};

use super::agent_card::{self, AgentView};
use crate::agents::simulation::Clock;
use crate::agents::{
    Activity, Agent, AgentMemory, AgentProfile, Board, Energy, JobState, OnBoard, Position,
    QueueWorkers, Thoughts, WorkerPool,
};
use crate::panel::labels::map_text::{minimap, on_screen};
use crate::panel::labels::placement::{MapWords, Word, WordRank, map_painter};
use crate::panel::style::{accent, backing, faint, ink};
use crate::world::agents::Before;
use crate::world::camera::MapCamera;
use crate::world::layout::Atlas;
use crate::world::palette::Theme;
use crate::world::pointer::Pointer;
use crate::world::settings::Settings;
use crate::world::view::View;

/// An agent's radius in points, whatever the zoom: it is to be found from afar too, and as tall as
/// a head's plot is there.
const RADIUS: f32 = 6.0;
/// Points between agents that stand in one place.
const APART: f32 = 15.0;
/// How far below the land the quay lies, in points.
const QUAY: f32 = 16.0;
/// How fast who comes to the quay or leaves it gets there: the part of the way in a second, of what
/// is left.
const STEP: f32 = 6.0;

/// An agent as it is drawn.
struct Figure {
    entity: Entity,
    at: Pos2,
    /// Where it goes, if it walks.
    to: Option<Pos2>,
    /// Whether it has nothing to do.
    is_free: bool,
    colour: Color32,
}

/// How much of each agent is on the quay: 1 where it waits there, 0 where it stands on the land.
type Ashore = HashMap<Entity, f32>;

/// What is known of an agent.
type Known<'a> =
    (Entity, &'a Agent, &'a Position, &'a Energy, &'a Activity, &'a Thoughts, &'a AgentMemory);

pub(crate) fn draw(
    mut contexts: EguiContexts,
    (atlas, camera, pointer): (Res<Atlas>, Res<MapCamera>, Res<Pointer>),
    settings: Res<Settings>,
    time: Res<Time>,
    world: (Option<Res<Clock>>, Option<Res<Board>>, Option<Res<Before>>),
    (workers, pool): (Option<Res<QueueWorkers>>, Option<Res<WorkerPool>>),
    agents: Query<Known<'static>>,
    open_jobs: Query<(&OnBoard, &Position)>,
    mut words: ResMut<MapWords>,
    mut ashore: Local<Ashore>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let (Some(clock), Some(board), Some(before)) = world else { return Ok(()) };
    let painter = map_painter(context, &camera.view);
    let theme = settings.theme;
    // One moment for ever: the signs of what agents do stay, and nothing moves.
    let moment = if settings.reduced_motion { 0.0 } else { time.elapsed_secs() };
    jobs(&painter, &camera.view, theme, &board, &open_jobs);

    let mut figures =
        figures(&agents, &board, &camera.view, |agent, place| before.between(agent, place, &clock));
    let part = if settings.reduced_motion { 1.0 } else { (time.delta_secs() * STEP).min(1.0) };
    let land = on_screen(&camera.view, atlas.bounds());
    to_quay(&mut figures, land, part, &mut ashore);
    // The minimap is drawn with the map, so that figures would lie over it.
    if let Some(minimap) = minimap(&camera.view, &atlas) {
        figures.retain(|figure| !minimap.expand(RADIUS).contains(figure.at));
    }
    paths(&painter, &figures);
    let pointer = pointer.0.map(|[x, y]| pos2(x as f32, y as f32));
    let near = |figure: &&Figure| {
        pointer.is_some_and(|pointer| figure.at.distance(pointer) < RADIUS + 4.0)
    };
    // The last one is drawn above the others: it is the one that is seen there.
    let hovered = figures.iter().rfind(near).map(|figure| figure.entity);
    let waits = |activity: &Activity| match (activity, &pool) {
        (Activity::Working(job), Some(pool)) => !pool.works_on(*job),
        _ => false,
    };
    for figure in &figures {
        let Ok((_, agent, _, energy, activity, ..)) = agents.get(figure.entity) else { continue };
        // Out of step with each other, or all would hop at once.
        let (waits, moment) = (waits(activity), moment + agent.id.0 as f32 * 0.7);
        body(&painter, theme, figure, energy.0, *activity, waits, moment);
        if hovered == Some(figure.entity) {
            painter.circle_stroke(figure.at, RADIUS + 5.0, Stroke::new(1.5, accent(theme)));
        } else if let (Activity::Working(job), false) = (activity, waits) {
            let job = &board.entry(*job).job;
            let cell = [job.place.x as i64, job.place.y as i64];
            words.say(task_name(&painter, theme, (cell, figure.at), job.task.as_str()));
        }
    }
    if let (Some(entity), Some(pointer)) = (hovered, pointer)
        && let Ok((_, agent, _, energy, activity, thoughts, memory)) = agents.get(entity)
    {
        let seen = AgentView {
            agent,
            energy: energy.0,
            activity: *activity,
            thoughts,
            memory,
            board: &board,
            queue: workers.as_deref().map(|workers| workers.runner().shared_queue().queue()),
            doing: workers.as_deref().and_then(|workers| {
                workers.runner().shared_queue().doing(&board.entry(activity.job()?).job.task)
            }),
            waits_for_a_bench: waits(activity),
            held: pool.as_deref().is_some_and(|pool| pool.on_hold),
        };
        let places = (painter.clip_rect(), pointer);
        agent_card::show(context, theme, places, colour_of(&agent.profile), &seen);
    }
    Ok(())
}

/// All agents, in the order of their numbers, as they are drawn on a view.
fn figures(
    agents: &Query<Known<'static>>,
    board: &Board,
    view: &View,
    now: impl Fn(Entity, Position) -> [f64; 2],
) -> Vec<Figure> {
    let figure = |(entity, agent, &place, _, activity, ..): Known<'_>| Figure {
        entity,
        at: on_map(view, now(entity, place)),
        to: match activity {
            Activity::Walking(job) => {
                let to = board.entry(*job).job.place;
                Some(on_map(view, [to.x, to.y]))
            }
            _ => None,
        },
        is_free: matches!(activity, Activity::Idle | Activity::Resting),
        colour: colour_of(&agent.profile),
    };
    // A query has no order to rely on, and `spread` gives places by it.
    let sorted = agents.iter().sort_by_key::<&Agent, _>(|agent| agent.id);
    let mut figures: Vec<Figure> = sorted.map(figure).collect();
    spread(&mut figures);
    figures
}

/// Brings who has nothing to do to the quay, and who has back to where it is.
fn to_quay(figures: &mut [Figure], land: Rect, part: f32, ashore: &mut Ashore) {
    // Each always has the same place there.
    for (place, figure) in figures.iter_mut().enumerate() {
        let wanted = if figure.is_free { 1.0 } else { 0.0 };
        let now = ashore.entry(figure.entity).or_insert(wanted);
        *now += (wanted - *now) * part;
        let quay = land.right_bottom() + vec2(-RADIUS - APART * place as f32, QUAY);
        figure.at = figure.at.lerp(quay, *now);
    }
}

/// The ways of those that walk.
fn paths(painter: &Painter, figures: &[Figure]) {
    for figure in figures {
        let Some(to) = figure.to else { continue };
        let stroke = Stroke::new(1.5, figure.colour.linear_multiply(0.7));
        painter.extend(Shape::dashed_line(&[figure.at, to], stroke, 5.0, 5.0));
    }
}

fn on_map(view: &View, place: [f64; 2]) -> Pos2 {
    let [x, y] = view.to_screen(place);
    pos2(x as f32, y as f32)
}

/// The colour of a kind: its own, or one that its name comes to.
pub(crate) fn colour_of(profile: &AgentProfile) -> Color32 {
    if let Some([r, g, b]) = profile.rgb() {
        return Color32::from_rgb(r, g, b);
    }
    // A hash of our own, so that a kind has its colour in every run and build.
    let hue = profile
        .name
        .bytes()
        .fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    egui::ecolor::Hsva::new((hue % 360) as f32 / 360.0, 0.55, 0.9, 1.0).into()
}

/// Sets agents that stand in one place around it, each always at its own side.
fn spread(figures: &mut [Figure]) {
    let mut crowds: HashMap<[i32; 2], Vec<usize>> = HashMap::new();
    for (index, figure) in figures.iter().enumerate() {
        let cell = [figure.at.x, figure.at.y].map(|side| (side / APART).round() as i32);
        crowds.entry(cell).or_default().push(index);
    }
    // In any order: no figure is in two crowds.
    for crowd in crowds.into_values().filter(|crowd| crowd.len() > 1) {
        // It grows with the crowd: neighbours on the circle stay more than `APART` from each other.
        let radius = APART * (crowd.len() as f32 / 4.0).max(1.0);
        for (turn, &index) in crowd.iter().enumerate() {
            let angle = turn as f32 / crowd.len() as f32 * std::f32::consts::TAU;
            figures[index].at += radius * Vec2::angled(angle);
        }
    }
}

/// Where there is work: a diamond at each place, full where somebody is on it, with the number
/// where there is more than one.
fn jobs(
    painter: &Painter,
    view: &View,
    theme: Theme,
    board: &Board,
    open_jobs: &Query<(&OnBoard, &Position)>,
) {
    let mut places: HashMap<[i64; 2], (Position, u32, bool)> = HashMap::new();
    for (&OnBoard(job), &place) in open_jobs {
        let cell = [place.x as i64, place.y as i64];
        let (_, count, taken) = places.entry(cell).or_insert((place, 0, false));
        *count += 1;
        *taken |= matches!(board.entry(job).state, JobState::Taken(_));
    }
    for (place, count, taken) in places.into_values() {
        let at = on_map(view, [place.x, place.y]);
        if !painter.clip_rect().expand(20.0).contains(at) {
            continue;
        }
        let corners =
            [vec2(0.0, -6.5), vec2(6.5, 0.0), vec2(0.0, 6.5), vec2(-6.5, 0.0)].map(|to| at + to);
        let fill = if taken { accent(theme) } else { backing(theme) };
        painter.add(Shape::convex_polygon(corners.to_vec(), fill, Stroke::new(1.5, accent(theme))));
        if count > 1 {
            let font = FontId::proportional(11.0);
            painter.text(
                at + vec2(10.0, 0.0),
                Align2::LEFT_CENTER,
                format!("x {count}"),
                font,
                accent(theme),
            );
        }
    }
}

/// A round body with eyes, its energy around it, and a sign of what it does.
fn body(
    painter: &Painter,
    theme: Theme,
    figure: &Figure,
    energy: f32,
    activity: Activity,
    waits: bool,
    moment: f32,
) {
    let walks = matches!(activity, Activity::Walking(_));
    let rests = matches!(activity, Activity::Resting);
    let hop = if walks { (moment * 9.0).sin().abs() * 3.0 } else { 0.0 };
    let at = figure.at - vec2(0.0, hop);
    painter.circle_filled(
        // The shadow stays on the ground while the body hops.
        figure.at + vec2(0.0, RADIUS * 0.85),
        RADIUS * 0.7,
        Color32::from_black_alpha(70),
    );
    painter.circle_filled(at, RADIUS + 2.2, backing(theme));
    arc(painter, at, RADIUS + 1.4, energy, energy_colour(energy));
    painter.circle_filled(
        at,
        RADIUS,
        if rests { figure.colour.linear_multiply(0.75) } else { figure.colour },
    );
    painter.circle_filled(at - vec2(1.8, 2.1), RADIUS * 0.36, Color32::from_white_alpha(60));
    let dark = Color32::from_rgb(0x14, 0x18, 0x20);
    let look = figure.to.map_or(Vec2::ZERO, |to| (to - figure.at).normalized());
    for side in [-2.1, 2.1] {
        let eye = at + vec2(side, -0.4);
        if rests {
            painter
                .line_segment([eye - vec2(1.3, 0.0), eye + vec2(1.3, 0.0)], Stroke::new(1.2, dark));
        } else {
            painter.circle_filled(eye, 1.6, Color32::WHITE);
            painter.circle_filled(eye + look * 0.6, 0.9, dark);
        }
    }
    match activity {
        Activity::Resting => {
            for (turn, size) in [(0.0, 9.0), (0.5, 11.0)] {
                let part = (moment * 0.5 + turn).fract();
                let place = at + vec2(7.0 + 6.0 * part, -9.0 - 11.0 * part);
                let colour = ink(theme).linear_multiply(1.0 - part);
                painter.text(place, Align2::CENTER_CENTER, "z", FontId::proportional(size), colour);
            }
        }
        Activity::Working(_) if waits => {
            for dot in 0..3 {
                let place = at + vec2(-5.0 + 5.0 * dot as f32, -RADIUS - 7.0);
                painter.circle_filled(place, 1.6, faint(theme));
            }
        }
        Activity::Working(_) => {
            for spark in 0..3 {
                let angle = moment * 4.0 + spark as f32 / 3.0 * std::f32::consts::TAU;
                let place = at + (RADIUS + 7.0) * Vec2::angled(angle);
                painter.circle_filled(place, 2.2, accent(theme));
            }
        }
        Activity::Idle | Activity::Walking(_) => {}
    }
}

/// A part of a circle, clockwise from the top.
fn arc(painter: &Painter, at: Pos2, radius: f32, part: f32, colour: Color32) {
    let steps = (part.clamp(0.0, 1.0) * 32.0).ceil() as usize;
    let point = |step: usize| {
        let angle =
            // The last step ends where the part does, not at the next 32nd.
            -std::f32::consts::FRAC_PI_2 + (step as f32 / 32.0).min(part) * std::f32::consts::TAU;
        at + radius * Vec2::angled(angle)
    };
    painter.add(Shape::line((0..=steps).map(point).collect(), Stroke::new(1.5, colour)));
}

/// Green when fresh, red when worn out.
pub(crate) fn energy_colour(energy: f32) -> Color32 {
    let (worn, fresh) = ([0xE5, 0x53, 0x4B], [0x57, 0xC9, 0x6B]);
    let mix = |i: usize| {
        (worn[i] as f32 + (fresh[i] as f32 - worn[i] as f32) * energy.clamp(0.0, 1.0)) as u8
    };
    Color32::from_rgb(mix(0), mix(1), mix(2))
}

/// What somebody works on, under it or above it.
fn task_name(painter: &Painter, theme: Theme, (cell, at): ([i64; 2], Pos2), text: &str) -> Word {
    let key = (WordRank::Number, cell);
    Word::new(painter, key, (text.to_owned(), 11.0), ink(theme), |size| {
        let left = at.x - size.x / 2.0;
        vec![pos2(left, at.y + RADIUS + 9.0), pos2(left, at.y - RADIUS - 15.0 - size.y)]
    })
}
