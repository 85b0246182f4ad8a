//! What a change came to, on the land: while both answers are shown side by side, each head and
//! each field is lit by how much what it gave differs, in place of what it gave.

use bevy::prelude::*;

use super::activity::Scrubbed;
use crate::panel::frame::drawer::written;
use crate::world::heatmap::HeatmapLayer;
use crate::world::lab::Comparison;
use crate::world::layout::Atlas;
use crate::world::think::Generation;

/// What differs, as it is shown in this frame.
#[derive(Resource, Debug, Clone, PartialEq)]
pub struct WhatChanged {
    /// Whether a comparison shows it; a person turns it off beside the answers.
    pub wanted: bool,
    /// A layer of heads and one of fields; none while nothing is shown.
    pub layers: Vec<HeatmapLayer>,
    /// What is shown, and at which token, in words.
    pub title: String,
}

impl Default for WhatChanged {
    fn default() -> Self {
        Self { wanted: true, layers: Vec::new(), title: String::new() }
    }
}

impl WhatChanged {
    /// Whether the land is tinted by it.
    pub(crate) fn is_shown(&self) -> bool {
        !self.layers.is_empty()
    }
}

/// Finds what is to be shown: nothing without a comparison, or beside another answer than its own.
pub(crate) fn find(
    atlas: Res<Atlas>,
    comparison: Res<Comparison>,
    mind: Res<Generation>,
    scrubbed: Res<Scrubbed>,
    mut changed: ResMut<WhatChanged>,
    mut found: Local<Option<(usize, Option<usize>)>>,
) {
    let is_wanted = changed.wanted && comparison.is_of(&mind);
    let at = comparison.place(scrubbed.0).filter(|_| is_wanted);
    let wanted = at.map(|at| (at, scrubbed.0));
    if *found == wanted && !comparison.is_changed() && !atlas.is_changed() {
        return;
    }
    *found = wanted;
    match at.and_then(|at| Some((at, comparison.differences.get(at)?))) {
        Some((at, difference)) => {
            let title = title(at, &comparison, scrubbed.0);
            let layers = difference.layers(atlas.model().plan());
            if changed.title != title || changed.layers != layers {
                (changed.title, changed.layers) = (title, layers.into());
            }
        }
        None if changed.is_shown() => changed.layers.clear(),
        None => {}
    }
}

fn title(at: usize, comparison: &Comparison, looked_at: Option<usize>) -> String {
    let text = comparison.differences.texts.get(at).map_or("", String::as_str);
    // After the first fork the inputs differ: there is nothing to be compared.
    let beyond = looked_at.filter(|&looked| looked > at);
    let why =
        beyond.map_or(String::new(), |looked| format!("; the answers part before token {looked}"));
    format!("norm of the difference of both answers at token {at} {}{why}", written(text))
}
