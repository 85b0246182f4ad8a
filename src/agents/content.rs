//! `*.agent.ron`: kinds of agents.

use super::AgentProfile;
use crate::content::Review;

/// What is wrong with a profile that its type cannot say.
pub(crate) fn review_agent(profile: &AgentProfile, review: &mut Review<'_>) {
    for (path, message) in profile.problems() {
        review.wrong(&path, message);
    }
}
