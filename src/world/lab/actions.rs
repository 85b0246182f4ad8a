//! What a person or a tour asks of the lab: to mark and paint, to take a change back, to do it
//! again.

use bevy::prelude::*;

use super::Edits;
use crate::world::keys::UserAction;
use crate::world::layout::Atlas;
use crate::world::notices::Notices;
use crate::world::tour::{TourProblem, TourStep};

pub(super) fn act(
    mut actions: MessageReader<UserAction>,
    mut edits: ResMut<Edits>,
    mut notices: ResMut<Notices>,
) {
    for action in actions.read() {
        match action {
            UserAction::Undo => notices.tell(edits.undo()),
            UserAction::Redo => notices.tell(edits.redo()),
            UserAction::Paint => {
                edits.painting = !edits.painting;
                notices.tell(if edits.painting {
                    "click a weight or drag over some to mark them; G again to move the map"
                } else {
                    "a drag moves the map"
                });
            }
            _ => {}
        }
    }
}

/// Takes the steps of a tour that paint.
pub(super) fn follow_tour(
    mut steps: MessageReader<TourStep>,
    atlas: Res<Atlas>,
    mut edits: ResMut<Edits>,
    mut problems: MessageWriter<TourProblem>,
) {
    for step in steps.read() {
        match step {
            TourStep::Paint { at, brush } => {
                edits.mark_place(&atlas, at);
                if edits.count() == 0 {
                    problems.write(TourProblem::NoPlace(at.clone()));
                } else if edits.paint(atlas.model(), *brush).is_none() {
                    problems.write_batch(edits.problem.clone().map(TourProblem::Failed));
                }
            }
            TourStep::Undo => {
                edits.undo();
                edits.clear();
            }
            _ => {}
        }
    }
}
