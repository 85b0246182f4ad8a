//! Kinds of agents, as RON: `*.agent.ron`. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AgentsError, Curve, Utility};
use crate::coach;
use crate::content::assets::Assets;
use crate::names::nearest;

/// More agents than this of one kind no file may ask for.
pub const MAX_COUNT: u32 = 10_000;
/// The longest memory: it is looked through with every thought.
pub const MAX_MEMORY: usize = 64;

/// What an agent spends and gains of its energy in a tick; it has 1 at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnergyRates {
    /// Spent on a tick of work.
    pub work: f32,
    /// Spent on a tick of walking.
    pub walk: f32,
    /// Gained by a tick of rest.
    pub rest: f32,
}

/// When an agent rests: the appeal of rest at an energy, against the worth of the best task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// While it is up.
    pub begin: Curve,
    /// While it rests; where it is higher than the other, an agent rests until it is fresh.
    pub go_on: Curve,
}

/// A kind of agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "Profile")]
pub struct AgentProfile {
    /// What it is called; its agents are called so with a number.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Its colour on the map, as `#rrggbb`; without one it gets one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<String>,
    /// Whose tasks it takes.
    #[serde(default)]
    pub kind: coach::AgentKind,
    /// How many of it there are at the start.
    pub count: u32,
    /// What it can do and how well: the name of an action, or `any`, and a level above 0 up to 1.
    pub skills: BTreeMap<String, f32>,
    /// Cells that it walks in a tick.
    pub speed: f64,
    /// The distance in cells at which a task is as far as can be.
    pub reach: f64,
    /// The ticks after which a task has waited as long as can be.
    pub patience: u64,
    /// How many works it remembers.
    pub memory: usize,
    /// How much better another task must be, as a share, for it to turn round on its way.
    pub inertia: f32,
    /// What work, walks and rest do to its energy.
    #[serde(alias = "metabolism")]
    pub energy_rates: EnergyRates,
    /// When it rests, by its energy.
    pub rest: Rest,
    /// How it judges tasks.
    pub utility: Utility,
}

impl AgentProfile {
    /// Reads a kind of agent.
    ///
    /// # Errors
    /// It is no RON, a field is missing or unknown (with line and column), or a value cannot be.
    pub fn parse(file: &str, text: &str) -> Result<Self, AgentsError> {
        // What is there is meant: nobody should have to write Some(...) around it.
        let options = ron::Options::default()
            .with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
        let profile: Self =
            options.from_str(text).map_err(|error| AgentsError::syntax(file, &error))?;
        match profile.problems().into_iter().next() {
            Some((path, problem)) => Err(AgentsError::content(file, format!("{path}: {problem}"))),
            None => Ok(profile),
        }
    }

    /// Everything that cannot be: the path of each field, and what is wrong there.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut expect = |holds: bool, path: &str, problem: String| {
            if !holds {
                found.push((path.to_owned(), problem));
            }
        };
        let name_is_plain =
            self.name.chars().all(|letter| letter.is_alphanumeric() || "-_ ".contains(letter));
        let problem = format!("is {:?}, expected letters, digits, '-', '_' and spaces", self.name);
        expect(!self.name.trim().is_empty() && name_is_plain, "name", problem);
        expect(
            self.count <= MAX_COUNT,
            "count",
            format!("is {}, expected at most {MAX_COUNT}", self.count),
        );
        expect(
            self.memory <= MAX_MEMORY,
            "memory",
            format!("is {}, expected at most {MAX_MEMORY}", self.memory),
        );
        let colour = self.colour.as_deref().unwrap_or_default();
        let holds = self.colour.is_none() || self.rgb().is_some();
        expect(holds, "colour", format!("is {colour:?}, expected #rrggbb"));
        for (skill, level) in &self.skills {
            let path = format!("skills.{skill}");
            let known = coach::TaskAction::NAMES;
            let meant = nearest(skill, known)
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let problem = format!(
                "{skill:?} is no action; expected \"any\" or one of {}{meant}",
                known.join(", ")
            );
            expect(skill == ANY_SKILL || known.contains(&skill.as_str()), &path, problem);
            let holds = *level > 0.0 && *level <= 1.0;
            expect(holds, &path, format!("is {level}, expected above 0 and at most 1"));
        }
        let positive =
            [("speed", self.speed), ("reach", self.reach), ("patience", self.patience as f64)];
        for (field, value) in positive {
            let holds = value.is_finite() && value > 0.0;
            expect(holds, field, format!("is {value}, expected a number above 0"));
        }
        let EnergyRates { work, walk, rest } = self.energy_rates;
        // A NaN is in no range.
        for (field, value) in
            [("inertia", self.inertia), ("energy_rates.work", work), ("energy_rates.walk", walk)]
        {
            expect((0.0..=1.0).contains(&value), field, format!("is {value}, expected 0 to 1"));
        }
        let holds = rest > 0.0 && rest <= 1.0;
        expect(holds, "energy_rates.rest", format!("is {rest}, expected above 0 and at most 1"));
        for (path, curve) in [("rest.begin", &self.rest.begin), ("rest.go_on", &self.rest.go_on)] {
            if let Err(problem) = curve.check() {
                expect(false, path, problem);
            }
        }
        let holds = self.rest.go_on.appeal(1.0) < REST_AT_MOST;
        let problem = "is no less than 1 at full energy: it would rest for ever".into();
        expect(holds, "rest.go_on", problem);
        if let Err(problem) = self.utility.check() {
            expect(false, "utility", problem);
        }
        found
    }

    /// Its colour, where it says one.
    pub fn rgb(&self) -> Option<[u8; 3]> {
        let digits =
            self.colour.as_deref()?.strip_prefix('#').filter(|digits| digits.len() == 6)?;
        let number = u32::from_str_radix(digits, 16).ok()?;
        // Six digits are the lower three of four bytes.
        let [_, red, green, blue] = number.to_be_bytes();
        Some([red, green, blue])
    }

    /// How well it does an action of tasks that ask for a kind of agent; 0 is not at all.
    pub fn level(&self, action: &str, wanted: coach::AgentKind) -> f32 {
        if !self.kind.may_take(wanted) {
            return 0.0;
        }
        self.skills.get(action).or_else(|| self.skills.get(ANY_SKILL)).copied().unwrap_or(0.0)
    }
}

/// The skill that stands for every action that is not named.
const ANY_SKILL: &str = "any";
/// Rest with this appeal is above any task.
const REST_AT_MOST: f32 = 1.0;

/// The kinds of agents of this program, of the mods and of the user's own folder, by their names as
/// contents.
///
/// # Errors
/// The user's own folder is broken.
pub fn load_profiles(assets: &Assets) -> Result<Vec<AgentProfile>, AgentsError> {
    Ok(assets.all("agent")?.into_iter().map(|(_, profile)| profile).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURVEYOR: (&str, &str) =
        ("surveyor.agent.ron", include_str!("../../assets/agents/surveyor.agent.ron"));

    #[test]
    fn the_built_in_kinds_are_sound_and_cover_every_action_of_theirs() {
        let profiles = load_profiles(&crate::app::kinds::assets()).unwrap();
        assert_eq!(profiles.len(), 4);
        for action in coach::TaskAction::NAMES
            .into_iter()
            .filter(|name| !["ask_person", "needs"].contains(name))
        {
            let able =
                profiles.iter().any(|profile| profile.level(action, coach::AgentKind::Auto) > 0.0);
            assert!(able, "nobody can {action}");
        }
    }

    #[cfg(feature = "world")]
    #[test]
    fn the_utility_of_built_in_kinds_vetoes_only_what_they_cannot_do() {
        use super::super::Situation;
        for profile in load_profiles(&crate::app::kinds::assets()).unwrap() {
            let worst = Situation { skill: 0.5, distance: 1.0, ..Situation::default() };
            assert!(
                profile.utility.worth(&worst).score > 0.0,
                "{} would let tasks starve",
                profile.name
            );
            assert_eq!(profile.utility.worth(&Situation { skill: 0.0, ..worst }).score, 0.0);
        }
    }

    #[test]
    fn a_misspelt_field_is_refused_with_its_place() {
        let (file, text) = SURVEYOR;
        let message = AgentProfile::parse(file, &text.replace("patience", "pacience"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("surveyor.agent.ron:") && message.contains("pacience"),
            "{message}"
        );
        let message = AgentProfile::parse(file, &text.replace("verify_tiles", "verify_tile"))
            .unwrap_err()
            .to_string();
        assert!(message.contains("\"verify_tile\" is no action"), "{message}");
    }

    #[test]
    fn a_person_s_task_is_for_persons() {
        let profile = AgentProfile::parse(SURVEYOR.0, SURVEYOR.1).unwrap();
        assert_eq!(profile.level("verify_tiles", coach::AgentKind::Human), 0.0);
        assert!(profile.level("verify_tiles", coach::AgentKind::Auto) > 0.0);
    }
}
