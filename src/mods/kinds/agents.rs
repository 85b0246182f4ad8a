//! `*.agent.ron`: kinds of agents. `*.reviewer.ron`: a command that judges work.

use crate::agents::Profile;
use crate::coach::reviewer::{MAX_REPLY, MAX_SECONDS, Reviewer};
use crate::mods::registry::Review;

pub(super) fn review(profile: &Profile, review: &mut Review<'_>) {
    for (path, message) in profile.problems() {
        review.wrong(&path, message);
    }
}

pub(super) fn review_reviewer(reviewer: &Reviewer, review: &mut Review<'_>) {
    review.expect(!reviewer.name.trim().is_empty(), "name", || "expected a name, found an empty text".into());
    let program = reviewer.line.first().is_some_and(|program| !program.is_empty());
    review.expect(program, "line", || "expected a program and its arguments, found no program".into());
    review.expect((1..=MAX_SECONDS).contains(&reviewer.seconds), "seconds", || {
        format!("expected 1 to {MAX_SECONDS}, found {}", reviewer.seconds)
    });
    review.expect((1..=MAX_REPLY).contains(&reviewer.max_reply_bytes), "max_reply_bytes", || {
        format!("expected 1 to {MAX_REPLY}, found {}", reviewer.max_reply_bytes)
    });
}
