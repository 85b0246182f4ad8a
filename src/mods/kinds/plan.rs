//! `*.plan.ron`: tasks in phases, for the coach.

use crate::coach::plan::PlanFile;
use crate::mods::problem::did_you_mean;
use crate::mods::registry::Review;

pub(super) fn review(plan: &PlanFile, review: &mut Review<'_>) {
    for fault in plan.faults() {
        let meant = fault.nearest.as_deref().map_or_else(String::new, |near| did_you_mean(near, [near]));
        review.wrong(&fault.path, format!("{}{meant}", fault.reason));
    }
}
