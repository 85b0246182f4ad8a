//! The drawer on the right: panels, of which one is open at a time. The map has the rest of the
//! screen.

use bevy::prelude::*;

use super::keys::UserAction;
use super::tour::TourStep;

/// A panel of the drawer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
pub enum Tab {
    /// What is selected, in numbers.
    Inspector,
    /// Muting, painting and comparing.
    Experiment,
    /// What each layer would say.
    Lens,
    /// Where a head looked.
    Attention,
    /// Each layer in numbers.
    Layers,
    /// How long things take.
    Timings,
    /// The plan and its tasks.
    Coach,
    /// Learning, and the adapters that lie over the model.
    Learning,
    /// Prompts times interventions, as files say.
    Experiments,
    /// The views that were kept.
    Bookmarks,
    /// What is wrong with mods.
    Mods,
    /// What is kept between runs.
    Settings,
    /// The list of keys.
    Keys,
}

impl Tab {
    /// All of them, in the order of their names on the screen.
    pub const ALL: [Self; 13] = [
        Self::Inspector,
        Self::Experiment,
        Self::Lens,
        Self::Attention,
        Self::Layers,
        Self::Timings,
        Self::Coach,
        Self::Learning,
        Self::Experiments,
        Self::Bookmarks,
        Self::Mods,
        Self::Settings,
        Self::Keys,
    ];

    /// Its name on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inspector => "Inspect",
            Self::Experiment => "Change",
            Self::Lens => "Lens",
            Self::Attention => "Attention",
            Self::Layers => "Layers",
            Self::Timings => "Timings",
            Self::Coach => "Coach",
            Self::Learning => "Learn",
            Self::Experiments => "Series",
            Self::Bookmarks => "Places",
            Self::Mods => "Mods",
            Self::Settings => "Settings",
            Self::Keys => "Keys",
        }
    }

    /// What it is about.
    pub fn about(self) -> &'static str {
        match self {
            Self::Inspector => "what is selected, in numbers",
            Self::Experiment => "mute, scale and paint, and see what becomes of the answer",
            Self::Lens => "what each layer would say in the place of the next token",
            Self::Attention => "at which tokens a head looks",
            Self::Layers => "how much each layer adds, and its strongest head",
            Self::Timings => "how long frames and tokens take, and what is in memory",
            Self::Coach => "a plan of tasks, and the agents that work on it",
            Self::Learning => "teach the model lines of your own, and switch what it has learnt",
            Self::Experiments => "prompts times muted heads and layers, measured in a series",
            Self::Bookmarks => "the views that you kept",
            Self::Mods => "what is wrong with mods",
            Self::Settings => "colours, text, speed and answers",
            Self::Keys => "every key and what it does",
        }
    }

    /// The action that opens or closes it.
    pub fn action(self) -> Option<UserAction> {
        match self {
            Self::Inspector => Some(UserAction::Inspector),
            Self::Experiment => Some(UserAction::Experiment),
            Self::Lens => Some(UserAction::Lens),
            Self::Attention => Some(UserAction::Attention),
            Self::Layers => Some(UserAction::Layers),
            Self::Timings => Some(UserAction::Timings),
            Self::Coach => Some(UserAction::Coach),
            Self::Learning => Some(UserAction::Learning),
            Self::Experiments => Some(UserAction::Experiments),
            Self::Settings => Some(UserAction::Settings),
            Self::Keys => Some(UserAction::Help),
            Self::Bookmarks | Self::Mods => None,
        }
    }
}

/// The panel that is open.
#[derive(Resource, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drawer(pub Option<Tab>);

impl Drawer {
    /// Points across: as many as a layer's line of the logit lens takes.
    pub const ACROSS: f32 = 350.0;
    /// On a screen of 800 points a prompt still has its buttons beside the drawer. Where less is
    /// left for the map, the drawer covers it.
    const LEAST_MAP: f32 = 440.0;

    /// Opens a panel, or none if it is the one that is open.
    pub(crate) fn toggle(&mut self, tab: Tab) {
        self.0 = (self.0 != Some(tab)).then_some(tab);
    }

    /// Points across that the map has of a screen.
    pub(crate) fn map_of(self, screen: f32) -> f32 {
        let left = screen - Self::ACROSS;
        if self.0.is_some() && left >= Self::LEAST_MAP { left } else { screen }
    }
}

/// Opens or closes what is asked for.
pub(super) fn act(mut actions: MessageReader<UserAction>, mut drawer: ResMut<Drawer>) {
    for action in actions.read() {
        if let Some(tab) = Tab::ALL.into_iter().find(|tab| tab.action() == Some(*action)) {
            drawer.toggle(tab);
        }
    }
}

/// Opens what a tour shows.
pub(super) fn follow_tour(mut steps: MessageReader<TourStep>, mut drawer: ResMut<Drawer>) {
    for step in steps.read() {
        if let TourStep::Show(tab) = step {
            drawer.0 = *tab;
        }
    }
}
