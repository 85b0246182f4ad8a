//! What a task is worth to an agent, in big-brain's terms: each consideration's [`Curve`] is an
//! [`Evaluator`] that gives a [`Score`], and a [`Measure`] makes one score of them.
//!
//! In: a [`Utility`] and the [`Situation`] that a task is in. Out: its [`Worth`]. The picker of an
//! agent's thinker chooses by it (`thinker`).

use big_brain::prelude::{Evaluator, Measure, Score};

use super::{Consideration, Curve, Situation, Utility, Weighted, Worth};

/// Scores below this count as 0: the logarithm of it is all that a mean can bear.
const VETO_BELOW: f32 = 1e-6;

impl Evaluator for Curve {
    fn evaluate(&self, value: f32) -> f32 {
        self.appeal(value)
    }
}

/// The weighted geometric mean: a score of 0 is a veto.
///
/// big-brain's own measures are none: its product grows with each weight below 1, and its sum and
/// its mean of squares let a near task make up for a skill that is not there.
#[derive(Debug, Clone, Copy, Default)]
struct GeometricMean;

impl Measure for GeometricMean {
    fn calculate(&self, inputs: Vec<(&Score, f32)>) -> f32 {
        let (mut logarithms, mut total, mut vetoed) = (0.0, 0.0, false);
        for (score, weight) in inputs {
            // The floor keeps the logarithm finite, and the mark keeps the veto.
            vetoed |= score.get() < VETO_BELOW;
            logarithms += weight * score.get().max(VETO_BELOW).ln();
            total += weight;
        }
        if vetoed || total <= 0.0 { 0.0 } else { (logarithms / total).exp().min(1.0) }
    }
}

/// The scores of the considerations of one agent, from task to task.
///
/// They are [`Score`]s in an array and not scorer entities: an agent compares up to
/// [`LOOKED_AT`](super::LOOKED_AT) times three jobs of each kind in a look, and big-brain scores
/// every scorer entity of every agent in each of its rounds, whether the agent looks or not. Seven
/// `EvaluatingScorer`s below a `MeasuredScorer` make a round of 1,000 agents 0.32 ms long in the
/// place of 0.02 ms (the best of 300, optimised), and a tick of about 1 ms has one or two rounds.
#[derive(Debug)]
pub(super) struct ConsiderationScores<'a> {
    parts: [Option<&'a Weighted>; Consideration::COUNT],
    circumstances: [f32; Consideration::COUNT],
    scores: [Score; Consideration::COUNT],
}

impl<'a> ConsiderationScores<'a> {
    /// Scores by a utility, of no situation yet.
    pub fn new(utility: &'a Utility) -> Self {
        // What has no weight does not count, and is a score of 1 to people who ask why.
        let one = |_| {
            let mut score = Score::default();
            score.set(1.0);
            score
        };
        Self {
            parts: utility.parts().map(|part| part.filter(|part| part.weight > 0.0)),
            // No circumstance is the same as this one.
            circumstances: [f32::NAN; Consideration::COUNT],
            scores: std::array::from_fn(one),
        }
    }

    /// What a situation is worth.
    pub fn worth(&mut self, situation: &Situation) -> Worth {
        let mut inputs = Vec::with_capacity(Consideration::COUNT);
        let known = self.circumstances.iter_mut().zip(situation.circumstances());
        for ((part, score), (known, circumstance)) in
            self.parts.iter().zip(&mut self.scores).zip(known)
        {
            let Some(Weighted { weight, curve }) = part else { continue };
            // Jobs of one kind differ in two to four of seven circumstances. The curves that are
            // not computed again pay for the measure's vector: 300 ns a job with both, 340 without.
            if *known != circumstance {
                *known = circumstance;
                // A curve may be above 1 by the rounding of its last bit, which `set` refuses.
                score.set_unchecked(Evaluator::evaluate(curve, circumstance));
            }
            inputs.push((&*score, *weight));
        }
        let score = GeometricMean.calculate(inputs);
        Worth { score, appeals: self.scores.each_ref().map(Score::get) }
    }
}

impl Utility {
    /// What a situation is worth.
    pub fn worth(&self, situation: &Situation) -> Worth {
        ConsiderationScores::new(self).worth(situation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(weight: f32, from: f32, to: f32) -> Option<Weighted> {
        Some(Weighted { weight, curve: Curve::Linear { from, to } })
    }

    #[test]
    fn the_worth_is_the_weighted_geometric_mean() {
        let utility = Utility {
            priority: linear(3.0, 0.0, 1.0),
            distance: linear(1.0, 1.0, 0.0),
            ..Utility::default()
        };
        let worth =
            utility.worth(&Situation { priority: 0.5, distance: 0.75, ..Situation::default() });
        let expected = (0.5_f32.powi(3) * 0.25).powf(0.25);
        assert!((worth.score - expected).abs() < 1e-6, "{worth:?}, expected {expected}");
        assert_eq!(worth.appeals, [0.5, 0.25, 1.0, 1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn no_appeal_is_a_veto_unless_it_has_no_weight() {
        let mut utility = Utility {
            priority: linear(1.0, 0.0, 1.0),
            skill: linear(1.0, 0.0, 1.0),
            ..Utility::default()
        };
        let unskilled = Situation { priority: 1.0, ..Situation::default() };
        assert_eq!(utility.worth(&unskilled).score, 0.0);
        utility.skill = linear(0.0, 0.0, 1.0);
        assert_eq!(utility.worth(&unskilled).score, 1.0);
    }

    #[test]
    fn a_situation_is_worth_the_same_whatever_was_scored_before() {
        let assets = crate::app::kinds::assets();
        for profile in super::super::load_profiles(&assets).unwrap() {
            let mut scores = ConsiderationScores::new(&profile.utility);
            for step in 0..1000_u16 {
                let share = |factor: u16| f32::from(step / factor % 11) / 10.0;
                let situation = Situation {
                    priority: share(1),
                    distance: share(2),
                    skill: share(5),
                    age: share(3),
                    phase: share(7),
                    energy: share(50),
                    focus: share(20),
                };
                assert_eq!(scores.worth(&situation), profile.utility.worth(&situation));
            }
        }
    }
}
