//! Utility: what an agent considers of a task, as RON has it. Pure.
//!
//! Each consideration is a circumstance between 0 and 1, bent by a [`Curve`] and weighted. What
//! they come to together is big-brain's to compute, in `scores`.

use serde::{Deserialize, Serialize};

use super::Curve;

/// What an agent considers. The order is that of [`Situation::circumstances`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consideration {
    /// How urgent the task is.
    Priority,
    /// How far away it is.
    Distance,
    /// How well the agent can do it.
    Skill,
    /// How long it has been waiting.
    Age,
    /// Whether it belongs to the phase that is being worked on.
    Phase,
    /// How fresh the agent is.
    Energy,
    /// How much it is like what the agent did lately.
    Focus,
}

impl Consideration {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// All of them, in the order of [`Situation::circumstances`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::Priority,
        Self::Distance,
        Self::Skill,
        Self::Age,
        Self::Phase,
        Self::Energy,
        Self::Focus,
    ];

    /// The name as it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Distance => "distance",
            Self::Skill => "skill",
            Self::Age => "age",
            Self::Phase => "phase",
            Self::Energy => "energy",
            Self::Focus => "focus",
        }
    }
}

/// How a task looks to an agent: each circumstance from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Situation {
    /// 0 is the least urgent, 1 the most.
    pub priority: f32,
    /// 0 is here, 1 at the agent's reach or beyond.
    pub distance: f32,
    /// The agent's level for the action, from 0, not at all, to 1.
    pub skill: f32,
    /// 0 is new, 1 at the end of the agent's patience or beyond.
    pub age: f32,
    /// 1 in the current phase, less the further away its phase is.
    pub phase: f32,
    /// The agent's energy, from 0, worn out, to 1.
    pub energy: f32,
    /// The share of the agent's recent work that was of this kind.
    pub focus: f32,
}

impl Situation {
    /// In the order of [`Consideration::ALL`].
    pub(crate) const fn circumstances(&self) -> [f32; Consideration::COUNT] {
        [self.priority, self.distance, self.skill, self.age, self.phase, self.energy, self.focus]
    }
}

/// How much a consideration counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// Its weight among the others; 0 leaves it out.
    pub weight: f32,
    /// From circumstance to appeal.
    pub curve: Curve,
}

/// What an agent makes of a situation. A consideration that is left out does not count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Utility {
    /// How much [`Situation::priority`] counts; `None` is not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Weighted>,
    /// How much [`Situation::distance`] counts; `None` is not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<Weighted>,
    /// How much [`Situation::skill`] counts; `None` is not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skill: Option<Weighted>,
    /// How much [`Situation::age`] counts; `None` is not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<Weighted>,
    /// How much [`Situation::phase`] counts; `None` is not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Weighted>,
    /// How much [`Situation::energy`] counts; `None` is not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<Weighted>,
    /// How much [`Situation::focus`] counts; `None` is not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub focus: Option<Weighted>,
}

/// A task's worth and what it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Worth {
    /// From 0, a veto, to 1.
    pub score: f32,
    /// The appeal of each consideration, in the order of [`Consideration::ALL`]; 1 where one does
    /// not count.
    pub appeals: [f32; Consideration::COUNT],
}

impl Utility {
    /// In the order of [`Consideration::ALL`].
    pub(super) fn parts(&self) -> [Option<&Weighted>; Consideration::COUNT] {
        let Self { priority, distance, skill, age, phase, energy, focus } = self;
        [priority, distance, skill, age, phase, energy, focus].map(Option::as_ref)
    }

    /// Whether it can be computed with.
    ///
    /// # Errors
    /// Names the consideration and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let mut total = 0.0;
        for (consideration, part) in Consideration::ALL.into_iter().zip(self.parts()) {
            let Some(Weighted { weight, curve }) = part else { continue };
            let name = consideration.name();
            if !weight.is_finite() || *weight < 0.0 {
                return Err(format!("{name}: weight is {weight}, expected 0 or more"));
            }
            curve.check().map_err(|problem| format!("{name}: {problem}"))?;
            total += weight;
        }
        if total > 0.0 { Ok(()) } else { Err("no consideration has a weight".into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(weight: f32, from: f32, to: f32) -> Option<Weighted> {
        Some(Weighted { weight, curve: Curve::Linear { from, to } })
    }

    #[test]
    fn weights_that_cannot_be_are_named() {
        assert!(Utility::default().check().is_err());
        let utility = Utility { age: linear(-1.0, 0.0, 1.0), ..Utility::default() };
        assert_eq!(utility.check().unwrap_err(), "age: weight is -1, expected 0 or more");
        let utility = Utility { focus: linear(1.0, 0.0, 3.0), ..Utility::default() };
        assert_eq!(utility.check().unwrap_err(), "focus: to is 3, expected 0 to 1");
    }
}
