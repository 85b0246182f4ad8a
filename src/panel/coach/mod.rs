//! The coach's plan and tasks, and the agents on the map.

pub(super) mod agent_card;
pub(super) mod agents;
pub(super) mod queue;
pub(super) mod task;
