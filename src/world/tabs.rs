//! The instruments beside the map, of which one is shown at a time.

use bevy::prelude::*;

use super::keys::UserAction;
use super::tour::TourStep;

/// A panel about what the model thinks, or how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum Instrument {
    /// What each layer would say.
    Lens,
    /// Where a head looked.
    Attention,
    /// Each layer in numbers.
    Layers,
    /// How long things take.
    Timings,
    /// What is kept between runs.
    Settings,
}

impl Instrument {
    /// All of them, in the order of their names on the screen.
    pub const ALL: [Self; 5] =
        [Self::Lens, Self::Attention, Self::Layers, Self::Timings, Self::Settings];

    /// Its name on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lens => "Lens",
            Self::Attention => "Attention",
            Self::Layers => "Layers",
            Self::Timings => "Timings",
            Self::Settings => "Settings",
        }
    }

    /// The action that shows or hides it.
    fn action(self) -> UserAction {
        match self {
            Self::Lens => UserAction::Lens,
            Self::Attention => UserAction::Attention,
            Self::Layers => UserAction::Layers,
            Self::Timings => UserAction::Timings,
            Self::Settings => UserAction::Settings,
        }
    }
}

/// The instrument that is shown.
#[derive(Resource, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShownInstrument(pub Option<Instrument>);

impl ShownInstrument {
    /// Shows an instrument, or none if it is the one that is shown.
    pub(crate) fn toggle(&mut self, instrument: Instrument) {
        self.0 = (self.0 != Some(instrument)).then_some(instrument);
    }
}

/// Shows or hides what is asked for.
pub(super) fn act(mut actions: MessageReader<UserAction>, mut shown: ResMut<ShownInstrument>) {
    for action in actions.read() {
        let asked = Instrument::ALL.into_iter().find(|instrument| instrument.action() == *action);
        if let Some(instrument) = asked {
            shown.toggle(instrument);
        }
    }
}

/// Shows what a tour shows.
pub(super) fn follow_tour(mut steps: MessageReader<TourStep>, mut shown: ResMut<ShownInstrument>) {
    for step in steps.read() {
        if let TourStep::Show(instrument) = step {
            shown.0 = *instrument;
        }
    }
}
