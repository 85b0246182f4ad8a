//! What a person is told for a while.

use bevy::prelude::*;

/// Seconds for which something is told.
const USUAL: f32 = 5.0;

/// What a person is told: the latest, until its time is over.
#[derive(Resource, Debug, Clone, Default)]
pub struct Notices(Option<(String, f32)>);

impl Notices {
    /// Tells something for a few seconds, in the place of what was told before.
    pub fn tell(&mut self, text: impl Into<String>) {
        self.tell_for(text, USUAL);
    }

    /// Tells something for so many seconds.
    pub(crate) fn tell_for(&mut self, text: impl Into<String>, seconds: f32) {
        self.0 = Some((text.into(), seconds));
    }

    /// What is told now.
    pub fn text(&self) -> Option<&str> {
        self.0.as_ref().map(|(text, _)| text.as_str())
    }
}

/// Ends what was told for long enough.
pub(super) fn fade(time: Res<Time>, mut notices: ResMut<Notices>) {
    if let Some((_, left)) = &mut notices.0 {
        *left -= time.delta_secs();
        if *left <= 0.0 {
            notices.0 = None;
        }
    }
}
