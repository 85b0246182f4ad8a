//! The schedule of one forward step: one token further for every running sequence.

use bevy::{
    ecs::schedule::{ScheduleBuildSettings, ScheduleLabel, SingleThreadedExecutor},
    prelude::*,
};

/// One forward step. Run in the render world, beneath `RenderGraph`, so its systems may use
/// `RenderContext`.
#[derive(ScheduleLabel, Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Forward;

/// The parts of a forward step, in their order.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardSystems {
    /// Token ids to the first hidden state.
    Embed,
    /// All layers, one after the other.
    Layers,
    /// The last hidden state to one logit per entry of the vocabulary.
    Head,
    /// The logits to the next token, which stays on the GPU for the next step.
    Sample,
}

impl Forward {
    /// The empty schedule, with its sets in order.
    pub(super) fn base_schedule() -> Schedule {
        let mut schedule = Schedule::new(Self);
        schedule
            // Commands are recorded in the order of the sets and handed over once, at the end of
            // the step.
            .set_build_settings(ScheduleBuildSettings {
                auto_insert_apply_deferred: false,
                ..default()
            })
            // The sets are a chain, so there is nothing for a second thread to do.
            .set_executor(SingleThreadedExecutor::new())
            .configure_sets(
                (
                    ForwardSystems::Embed,
                    ForwardSystems::Layers,
                    ForwardSystems::Head,
                    ForwardSystems::Sample,
                )
                    .chain(),
            );
        schedule
    }
}
