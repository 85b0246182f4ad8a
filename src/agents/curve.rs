//! Response curves: how much a circumstance counts, as a function of how strong it is. Pure.

use serde::{Deserialize, Serialize};

/// From a circumstance between 0 and 1 to an appeal between 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Curve {
    /// A straight line from one appeal to the other.
    Linear {
        /// The appeal at 0.
        #[serde(default)]
        from: f32,
        /// The appeal at 1.
        #[serde(default = "one")]
        to: f32,
    },
    /// A power: an exponent above 1 starts slowly, one below 1 quickly.
    Power {
        /// The exponent, above 0.
        exponent: f32,
        /// The appeal at 0.
        #[serde(default)]
        from: f32,
        /// The appeal at 1.
        #[serde(default = "one")]
        to: f32,
    },
    /// An S: little on one side of its middle, much on the other.
    Logistic {
        /// Where it is halfway between its ends.
        midpoint: f32,
        /// How sudden the change is; a negative one falls.
        steepness: f32,
        /// The appeal on the low side.
        #[serde(default)]
        from: f32,
        /// The appeal on the high side.
        #[serde(default = "one")]
        to: f32,
    },
    /// Straight lines between points, level before the first and after the last.
    Piecewise(Vec<(f32, f32)>),
}

const fn one() -> f32 {
    1.0
}

impl Curve {
    /// The appeal of a circumstance; one outside of 0 to 1 counts as the nearer end, and one that
    /// is no number as 0.
    pub(crate) fn appeal(&self, circumstance: f32) -> f32 {
        // `clamp` leaves a NaN as it is.
        let x = if circumstance.is_nan() { 0.0 } else { circumstance.clamp(0.0, 1.0) };
        match self {
            Self::Linear { from, to } => between(*from, *to, x),
            Self::Power { exponent, from, to } => between(*from, *to, x.powf(*exponent)),
            Self::Logistic { midpoint, steepness, from, to } => {
                // Where `exp` is infinite, the quotient is 0 as it should be.
                between(*from, *to, 1.0 / (1.0 + (-steepness * (x - midpoint)).exp()))
            }
            Self::Piecewise(points) => {
                // The check has found that `x` rises, so that nothing is divided by 0.
                let after = points.partition_point(|point| point.0 <= x);
                match (after.checked_sub(1).map(|before| points[before]), points.get(after)) {
                    (Some((x0, y0)), Some(&(x1, y1))) => between(y0, y1, (x - x0) / (x1 - x0)),
                    (Some((_, y)), None) | (None, Some(&(_, y))) => y,
                    (None, None) => 0.0,
                }
            }
        }
    }

    /// Whether every appeal of it is a number between 0 and 1.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let unit = |what: &str, value: f32| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("{what} is {value}, expected 0 to 1")),
        };
        match self {
            Self::Linear { from, to } => unit("from", *from).and_then(|()| unit("to", *to)),
            Self::Power { exponent, from, to } => {
                if !exponent.is_finite() || *exponent <= 0.0 {
                    return Err(format!("exponent is {exponent}, expected a number above 0"));
                }
                unit("from", *from).and_then(|()| unit("to", *to))
            }
            Self::Logistic { midpoint, steepness, from, to } => {
                if !steepness.is_finite() {
                    return Err(format!("steepness is {steepness}, expected a number"));
                }
                unit("midpoint", *midpoint)?;
                unit("from", *from).and_then(|()| unit("to", *to))
            }
            Self::Piecewise(points) if points.is_empty() => {
                Err("no points, expected one at least".into())
            }
            Self::Piecewise(points) => {
                for &(x, y) in points {
                    unit("x of a point", x)?;
                    unit("y of a point", y)?;
                }
                match points.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
                    Some(pair) => Err(format!(
                        "points from x = {} to {}, expected a rise",
                        pair[0].0, pair[1].0
                    )),
                    None => Ok(()),
                }
            }
        }
    }
}

fn between(from: f32, to: f32, share: f32) -> f32 {
    from + (to - from) * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn curves_pass_through_what_they_say() {
        let logistic = Curve::Logistic { midpoint: 0.3, steepness: 20.0, from: 0.0, to: 1.0 };
        let steps = Curve::Piecewise(vec![(0.2, 0.1), (0.6, 0.9)]);
        let table = [
            (Curve::Linear { from: 0.2, to: 1.0 }, 0.5, 0.6),
            (Curve::Linear { from: 1.0, to: 0.0 }, 0.25, 0.75),
            (Curve::Power { exponent: 2.0, from: 0.0, to: 1.0 }, 0.5, 0.25),
            (Curve::Power { exponent: 0.5, from: 0.5, to: 1.0 }, 0.25, 0.75),
            (logistic.clone(), 0.3, 0.5),
            (logistic, 0.8, 0.999_954_6),
            (steps.clone(), 0.0, 0.1),
            (steps.clone(), 0.4, 0.5),
            (steps.clone(), 0.6, 0.9),
            (steps, 1.0, 0.9),
        ];
        for (curve, x, y) in table {
            assert!((curve.appeal(x) - y).abs() < 1e-6, "{curve:?} at {x}: {}", curve.appeal(x));
        }
        assert_eq!(Curve::Linear { from: 0.25, to: 1.0 }.appeal(f32::NAN), 0.25);
    }

    #[test]
    fn what_leaves_the_range_is_refused_with_its_value() {
        for (curve, part) in [
            (Curve::Linear { from: -0.1, to: 1.0 }, "from is -0.1"),
            (Curve::Power { exponent: 0.0, from: 0.0, to: 1.0 }, "exponent is 0"),
            (
                Curve::Logistic { midpoint: 2.0, steepness: 1.0, from: 0.0, to: 1.0 },
                "midpoint is 2",
            ),
            (Curve::Piecewise(vec![]), "no points"),
            (Curve::Piecewise(vec![(0.5, 0.0), (0.5, 1.0)]), "expected a rise"),
            (Curve::Piecewise(vec![(0.5, f32::NAN)]), "y of a point is NaN"),
        ] {
            let problem = curve.check().unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }

    fn curves() -> impl Strategy<Value = Curve> {
        let unit = || 0.0f32..=1.0;
        prop_oneof![
            (unit(), unit()).prop_map(|(from, to)| Curve::Linear { from, to }),
            (0.01f32..20.0, unit(), unit()).prop_map(|(exponent, from, to)| Curve::Power {
                exponent,
                from,
                to
            }),
            (unit(), -100.0f32..100.0, unit(), unit()).prop_map(
                |(midpoint, steepness, from, to)| {
                    Curve::Logistic { midpoint, steepness, from, to }
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn a_sound_curve_stays_within_its_range(curve in curves(), x in -2.0f32..3.0) {
            prop_assert_eq!(curve.check(), Ok(()));
            let y = curve.appeal(x);
            prop_assert!((-1e-6..=1.000_001).contains(&y), "{}", y);
        }
    }
}
