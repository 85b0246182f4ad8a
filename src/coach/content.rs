//! `*.plan.ron`: tasks in phases, for the coach. `*.reviewer.ron`: a command that judges work.

use super::plan::PlanFile;
use super::reviewer::{MAX_REPLY, MAX_SECONDS, Reviewer};
use crate::content::{Review, did_you_mean};

/// What is wrong with a plan that its type cannot say.
pub(crate) fn review_plan(plan: &PlanFile, review: &mut Review<'_>) {
    for fault in plan.faults() {
        let meant =
            fault.nearest.as_deref().map_or_else(String::new, |near| did_you_mean(near, [near]));
        review.wrong(&fault.path, format!("{}{meant}", fault.reason));
    }
}

/// What is wrong with a reviewer that its type cannot say.
pub(crate) fn review_reviewer(reviewer: &Reviewer, review: &mut Review<'_>) {
    review.require(!reviewer.name.trim().is_empty(), "name", || {
        "expected a name, found an empty text".into()
    });
    let program = reviewer.command.first().is_some_and(|program| !program.is_empty());
    review.require(program, "command", || {
        "expected a program and its arguments, found no program".into()
    });
    review.require((1..=MAX_SECONDS).contains(&reviewer.seconds), "seconds", || {
        format!("expected 1 to {MAX_SECONDS}, found {}", reviewer.seconds)
    });
    review.require((1..=MAX_REPLY).contains(&reviewer.max_reply_bytes), "max_reply_bytes", || {
        format!("expected 1 to {MAX_REPLY}, found {}", reviewer.max_reply_bytes)
    });
}
