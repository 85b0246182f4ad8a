//! Truth after a change: what was computed before it is shown as such, and the prompt is answered
//! again by itself.

use std::sync::Arc;

use bevy::prelude::*;

use super::{Comparison, ComparisonStage, Differences};
use crate::world::keys::UserAction;
use crate::world::layout::Atlas;
use crate::world::notices::Notices;
use crate::world::settings::{AfterChange, Settings};
use crate::world::think::{Generation, ModelState};

/// Seconds for which a model stays as it is before the prompt is answered again: a factor that is
/// dragged and a brush that is moved change it in every frame.
const QUIET: f32 = 0.2;

/// The change that is waited for, or that was answered.
#[derive(Default)]
pub(super) struct Change {
    state: Option<Arc<ModelState>>,
    quiet: f32,
    is_answered: bool,
}

/// Whether the prompt is going to be answered again.
pub(super) fn is_due(
    mind: Res<Generation>,
    settings: Res<Settings>,
    comparison: Res<Comparison>,
) -> bool {
    // A comparison that somebody asked for changes the model itself. What went wrong with an answer
    // would go wrong again; and who goes token by token is not brought back to the first.
    let is_free = !comparison.is_running() || comparison.follows_change;
    let is_wanted = settings.after_change == AfterChange::AnswerAgain;
    is_wanted && is_free && !mind.paused && mind.problem.is_none() && mind.is_before_change()
}

/// Answers the prompt again once the model was changed, and compares both answers.
pub(super) fn answer(
    time: Res<Time>,
    atlas: Res<Atlas>,
    mut mind: ResMut<Generation>,
    mut comparison: ResMut<Comparison>,
    mut change: Local<Change>,
) {
    let current = Arc::clone(mind.current_state());
    if !change.state.as_ref().is_some_and(|state| Arc::ptr_eq(state, &current)) {
        *change = Change { state: Some(current), ..Change::default() };
    }
    change.quiet += time.delta_secs();
    if change.is_answered || change.quiet < QUIET {
        return;
    }
    change.is_answered = true;
    again(&mut mind, &atlas, &mut comparison);
}

/// Answers the prompt again when somebody asks for it.
pub(super) fn act(
    mut actions: MessageReader<UserAction>,
    atlas: Res<Atlas>,
    mut mind: ResMut<Generation>,
    mut comparison: ResMut<Comparison>,
    mut notices: ResMut<Notices>,
) {
    let is_asked = UserAction::AnswerAgain.is_among(&mut actions);
    if !is_asked && !mind.again {
        return;
    }
    mind.again = false;
    if mind.asked().is_none() {
        notices.tell("there is no prompt yet: press Enter, type, and Enter again");
    } else if !comparison.is_running() || comparison.follows_change {
        mind.paused = false;
        again(&mut mind, &atlas, &mut comparison);
    }
}

/// Answers the prompt again, as the model is now, beside the answer that is there.
fn again(mind: &mut Generation, atlas: &Atlas, comparison: &mut Comparison) {
    let so_far = mind.answer_so_far();
    // An answer that had hardly begun when the model was changed once more is no answer to compare
    // with.
    let is_under_way = comparison.follows_change && comparison.stage == ComparisonStage::With;
    let (before, differences) = if is_under_way {
        let differences = std::mem::take(&mut comparison.differences).anew();
        (std::mem::take(&mut comparison.without), differences)
    } else {
        (so_far, Differences::remember(mind))
    };
    *comparison = Comparison::default();
    let is_other = |state: &Arc<ModelState>| state != mind.current_state();
    if before.tokens.first().is_some_and(|token| is_other(&token.state)) {
        comparison.follow(mind, atlas, (before, differences));
    } else if let Some(asked) = mind.asked().cloned() {
        // Nothing was said, or the change was taken back.
        mind.begin(atlas.model(), asked, Vec::new());
    }
}
