//! What is kept between runs: theme, palette, bookmarks. A RON file in the platform's folder for
//! settings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bevy::prelude::*;
use serde::{Deserialize, Serialize};

use super::adapters::LoadedAdapters;
use super::keys::UserAction;
use super::notices::Notices;
use super::palette::{Colouring, Palettes, Theme};
use super::tour::{TourProblem, TourStep};
use super::view::View;
use crate::folders;
use crate::pxi::AtomicFile;

/// What a person has chosen.
#[derive(Resource, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Light or dark ground.
    pub theme: Theme,
    /// The palette's name; empty is the first.
    pub palette: String,
    /// What is shown of each weight.
    pub colouring: Colouring,
    /// Whether flights are jumps.
    pub reduced_motion: bool,
    /// Tokens a second at most; 0 is as fast as it goes.
    pub tokens_per_second: f32,
    /// Milliseconds of a frame that thinking may take; 0 is the usual.
    pub thinking_milliseconds: u32,
    /// How much larger than usual text and panels are; 0 is what the screen asks for.
    pub text_scale: f32,
    /// What happens to an answer when the model is changed.
    pub after_change: AfterChange,
    /// The welcome was seen.
    pub welcomed: bool,
    /// Views to come back to, by model.
    pub bookmarks: BTreeMap<String, Vec<(String, View)>>,
}

/// What happens to an answer when the model is changed: a head muted, a weight painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AfterChange {
    /// The prompt is answered again, beside the answer of before.
    #[default]
    AnswerAgain,
    /// It stays, marked as of before the change, until somebody asks.
    Wait,
}

/// Milliseconds of a frame that thinking may take where nobody says.
pub(crate) const USUAL_THINKING: u32 = 78;
/// What a frame is to take at most with everything else in it: where drawing takes long, thinking
/// takes less.
const FRAME: Duration = Duration::from_millis(100);
/// What thinking may take all the same.
const LEAST_THINKING: Duration = Duration::from_millis(10);

impl Settings {
    /// What a frame may spend on thinking.
    pub(crate) fn thinking_budget(&self) -> Duration {
        let milliseconds = if self.thinking_milliseconds == 0 {
            USUAL_THINKING
        } else {
            self.thinking_milliseconds
        };
        // The file may be written by hand, and no frame is to take longer than a second.
        Duration::from_millis(u64::from(milliseconds.min(1000)))
    }

    /// What a frame may spend on thinking where everything else in it takes so long. What somebody
    /// has chosen holds.
    pub(crate) fn thinking_budget_beside(&self, rest: Duration) -> Duration {
        let budget = self.thinking_budget();
        if self.thinking_milliseconds > 0 {
            return budget;
        }
        // Where drawing alone takes longer than a frame should, the answer still comes.
        budget.min(FRAME.saturating_sub(rest)).max(LEAST_THINKING)
    }

    /// What a frame may spend on learning: as much as on thinking, and little while somebody waits
    /// for an answer.
    pub(crate) fn learning_budget_beside(&self, rest: Duration, is_thinking: bool) -> Duration {
        if is_thinking { LEAST_THINKING } else { self.thinking_budget_beside(rest) }
    }
}

/// Changes the colours as is asked for.
pub(super) fn act(
    mut actions: MessageReader<UserAction>,
    palettes: Res<Palettes>,
    loaded: Res<LoadedAdapters>,
    mut settings: ResMut<Settings>,
    mut notices: ResMut<Notices>,
) {
    for action in actions.read() {
        match action {
            UserAction::NextColouring => {
                settings.colouring = settings.colouring.next(!loaded.all.is_empty());
            }
            UserAction::NextPalette => {
                settings.palette = palettes.after(&settings.palette).to_owned();
                notices.tell(format!("palette: {}", settings.palette));
            }
            UserAction::NextTheme => settings.theme = settings.theme.other(),
            _ => {}
        }
    }
}

/// Takes the steps of a tour that are about colours.
pub(super) fn follow_tour(
    mut steps: MessageReader<TourStep>,
    palettes: Res<Palettes>,
    mut settings: ResMut<Settings>,
    mut problems: MessageWriter<TourProblem>,
) {
    for step in steps.read() {
        match step {
            TourStep::Colouring(colouring) => settings.colouring = *colouring,
            TourStep::Theme(theme) => settings.theme = *theme,
            TourStep::Palette(name) => {
                if !palettes.0.iter().any(|palette| palette.name == *name) {
                    problems.write(TourProblem::NoPalette(name.clone()));
                }
                // A name that is not there is shown as the first palette.
                settings.palette.clone_from(name);
            }
            _ => {}
        }
    }
}

/// Where settings are kept, or nowhere: tours and tests begin the same each time.
#[derive(Resource, Debug, Clone, Default)]
pub struct SettingsFile(pub Option<PathBuf>);

impl SettingsFile {
    /// In the folder for settings.
    pub fn usual() -> Self {
        Self(folders::settings().map(|folder| folder.join("settings.ron")))
    }

    /// What was kept. A file that cannot be read is told of and counts as none.
    pub fn read(&self) -> Settings {
        let Some(path) = self.0.as_deref().filter(|path| path.is_file()) else {
            return Settings::default();
        };
        let text = crate::files::read_to_string(path).map_err(|error| error.to_string());
        match text.and_then(|text| ron::from_str(&text).map_err(|error| error.to_string())) {
            Ok(settings) => settings,
            Err(error) => {
                warn!("{}: {error}; the settings are the usual ones", path.display());
                Settings::default()
            }
        }
    }

    /// Keeps settings. What cannot be kept is told of.
    pub fn write(&self, settings: &Settings) {
        let Some(path) = &self.0 else { return };
        let write = || -> Result<(), Box<dyn std::error::Error>> {
            path.parent().map(std::fs::create_dir_all).transpose()?;
            let text = ron::ser::to_string_pretty(settings, ron::ser::PrettyConfig::default())?;
            Ok(AtomicFile::replace(path, text.as_bytes())?)
        };
        if let Err(error) = write() {
            warn!("{}: the settings cannot be kept: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinking_makes_room_for_drawing_unless_somebody_has_chosen() {
        let ms = Duration::from_millis;
        let usual = Settings::default();
        assert_eq!(usual.thinking_budget_beside(ms(15)), ms(USUAL_THINKING.into()));
        assert_eq!(usual.thinking_budget_beside(ms(60)), FRAME - ms(60));
        assert_eq!(usual.thinking_budget_beside(ms(400)), LEAST_THINKING);
        let chosen = Settings { thinking_milliseconds: 200, ..usual };
        assert_eq!(chosen.thinking_budget_beside(ms(400)), ms(200));
    }

    #[test]
    fn settings_come_back_and_a_broken_file_is_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = SettingsFile(Some(folder.path().join("deep/settings.ron")));
        assert_eq!(file.read(), Settings::default());
        let mut settings = Settings {
            theme: Theme::Light,
            after_change: AfterChange::Wait,
            ..Settings::default()
        };
        settings.bookmarks.insert("seedling".into(), vec![("home".into(), View::default())]);
        file.write(&settings);
        assert_eq!(file.read(), settings);
        std::fs::write(file.0.as_ref().unwrap(), "(theme: 7").unwrap();
        assert_eq!(file.read(), Settings::default());
    }
}
