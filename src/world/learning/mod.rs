//! The model learns while one walks about: a lesson in the window.
//!
//! In: [`Lesson::begin`], with lines by a corpus's name or from a file. Out: losses, the norms of
//! the gradient by place, three questions answered before and now, and what was learnt, as an
//! adapter that lies over the model. The steps are those of `pixel-llm train --device gpu` with the
//! same settings, loss for loss; the render world takes them dispatch by dispatch, as far as the
//! budget of a frame goes.

mod desk;
mod gradient;
mod lesson;
mod lines;
mod questions;

use bevy::prelude::*;

use super::WorldSystems;
use super::adapters::LoadedAdapters;
use super::layout::Atlas;
use super::notices::Notices;
use super::settings::Settings;
use super::think::Generation;
use super::tour::{self, TourProblem, TourStep, TourSystems};
use crate::content::assets::Assets;
use desk::{DeskLink, DeskPlugin};

pub(super) use desk::DeskSystems;

pub use gradient::GradientNorms;
pub use lesson::{Lesson, LessonSettings, LessonStage};
pub use lines::LessonData;
pub use questions::{PinnedAnswer, PinnedQuestion};

/// Adds [`Lesson`]. Comes after `GpuModelPlugin` and the plugin of adapters.
pub(super) struct LearningPlugin;

impl Plugin for LearningPlugin {
    fn build(&self, app: &mut App) {
        let link = DeskLink::default();
        app.init_resource::<Lesson>()
            .insert_resource(link.clone())
            .add_plugins(DeskPlugin(link))
            .add_systems(
                Update,
                (
                    tour::hold.in_set(TourSystems::Hold).run_if(is_awaited),
                    (follow_tour, drive).chain().in_set(WorldSystems::Act),
                ),
            );
    }
}

/// Whether a tour waits for the lesson.
fn is_awaited(lesson: Res<Lesson>) -> bool {
    lesson.is_awaited()
}

/// Takes the steps of a tour that teach.
fn follow_tour(
    mut steps: MessageReader<TourStep>,
    mut lesson: ResMut<Lesson>,
    mut problems: MessageWriter<TourProblem>,
) {
    for step in steps.read() {
        match step {
            TourStep::Learn(data) => {
                lesson.settings.data = LessonData::named(data);
                lesson.begin();
                let problem = lesson.problem.clone();
                problems.write_batch(problem.map(TourProblem::Failed));
            }
            TourStep::AwaitStep(step) => lesson.awaited = Some(*step),
            _ => {}
        }
    }
}

/// Goes on with the lesson.
fn drive(
    time: Res<Time>,
    assets: Res<Assets>,
    (atlas, settings): (Res<Atlas>, Res<Settings>),
    mind: Res<Generation>,
    link: Res<DeskLink>,
    mut lesson: ResMut<Lesson>,
    mut loaded: ResMut<LoadedAdapters>,
    mut notices: ResMut<Notices>,
) {
    if !lesson.is_under_way() {
        return;
    }
    link.with(|desk| {
        let rest = time.delta().saturating_sub(std::mem::take(&mut desk.spent));
        desk.budget = settings.learning_budget_beside(rest, mind.is_busy());
        lesson.go_on(desk, (atlas.model(), &assets), &mut loaded);
    });
    if let Some(told) = lesson.told.take() {
        notices.tell(told);
    }
}
