//! Figures of a parent and its child on the same texts, and the limits that they are held to.
//!
//! What is compared is compared text by text, so that what both find hard cancels: the error is
//! that of the differences. A limit is data; whether it holds follows from what was measured.

use serde::{Deserialize, Serialize};

/// One figure of a parent and of its child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedFigure {
    /// What is measured, such as `right.sums` or `plain_loss`.
    pub name: String,
    /// The parent's mean.
    pub parent: f64,
    /// The child's.
    pub child: f64,
    /// The child's less the parent's.
    pub difference: f64,
    /// The standard error of the difference, texts being independent.
    pub standard_error: f64,
    /// How many texts it is the mean of.
    pub count: usize,
    /// The SHA-256 of the text that it was measured on, in hexadecimal.
    pub text: String,
}

impl PairedFigure {
    /// The figure of numbers that belong together by their places.
    ///
    /// # Panics
    /// There are not as many of both.
    pub fn of(name: impl Into<String>, text: &str, parent: &[f64], child: &[f64]) -> Self {
        assert_eq!(parent.len(), child.len(), "each text has both figures");
        let differences: Vec<f64> = child.iter().zip(parent).map(|(c, p)| c - p).collect();
        let (difference, standard_error) = mean_and_error(&differences);
        Self {
            name: name.into(),
            parent: mean_and_error(parent).0,
            child: mean_and_error(child).0,
            difference,
            standard_error,
            count: parent.len(),
            text: text.to_owned(),
        }
    }
}

/// The mean of some numbers and its standard error; both are 0 where there are none.
pub fn mean_and_error(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len().max(1) as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
}

/// What is asked of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FigureLimit {
    /// It rises by more than its error.
    Rises,
    /// It falls by no more than its error and so much.
    FallsAtMost(f64),
    /// It rises by no more than its error and so much.
    RisesAtMost(f64),
    /// The child keeps this share of the parent's.
    KeepsShare(f64),
}

impl FigureLimit {
    /// Whether a figure keeps it. A figure that is no number keeps none.
    pub fn holds(self, figure: &PairedFigure) -> bool {
        let PairedFigure { parent, child, difference, standard_error, .. } = *figure;
        match self {
            Self::Rises => difference > standard_error,
            Self::FallsAtMost(by) => difference >= -(by + standard_error),
            Self::RisesAtMost(by) => difference <= by + standard_error,
            Self::KeepsShare(share) => child >= share * parent,
        }
    }
}

/// What a limit said of a figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FigureVerdict {
    /// The figure's name.
    pub figure: String,
    /// What is asked of it.
    pub limit: FigureLimit,
    /// Whether it holds.
    pub holds: bool,
}

/// Judges figures by the limits of their names. A limit whose figure is not there does not hold:
/// what was not measured passes nothing.
pub fn judge(limits: &[(String, FigureLimit)], figures: &[PairedFigure]) -> Vec<FigureVerdict> {
    let one = |(name, limit): &(String, FigureLimit)| {
        let figure = figures.iter().find(|figure| figure.name == *name);
        let holds = figure.is_some_and(|figure| limit.holds(figure));
        FigureVerdict { figure: name.clone(), limit: *limit, holds }
    };
    limits.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_that_of_the_mean() {
        assert_eq!(mean_and_error(&[1.0, 3.0]), (2.0, 1.0));
        assert_eq!(mean_and_error(&[2.0]), (2.0, 0.0));
        assert_eq!(mean_and_error(&[]), (0.0, 0.0));
    }

    #[test]
    fn what_both_find_hard_cancels() {
        // The texts differ by far more than the two models do.
        let parent = [0.0, 10.0, 20.0, 30.0];
        let child = parent.map(|it| it + 1.0);
        let figure = PairedFigure::of("x", "", &parent, &child);
        assert_eq!((figure.difference, figure.standard_error), (1.0, 0.0));
        assert!(FigureLimit::Rises.holds(&figure));
        assert!(!FigureLimit::RisesAtMost(0.5).holds(&figure));
    }

    #[test]
    fn limits_count_the_error_and_pass_nothing_that_is_no_number() {
        let figure = |difference: f64, standard_error: f64| PairedFigure {
            name: "right".into(),
            parent: 1.0,
            child: 1.0 + difference,
            difference,
            standard_error,
            count: 9,
            text: String::new(),
        };
        assert!(!FigureLimit::Rises.holds(&figure(0.1, 0.1)));
        assert!(FigureLimit::FallsAtMost(0.0).holds(&figure(-0.1, 0.1)));
        assert!(!FigureLimit::FallsAtMost(0.0).holds(&figure(-0.2, 0.1)));
        assert!(FigureLimit::RisesAtMost(0.1).holds(&figure(0.15, 0.1)));
        assert!(!FigureLimit::KeepsShare(0.5).holds(&figure(-0.6, 0.1)));
        for limit in [
            FigureLimit::Rises,
            FigureLimit::FallsAtMost(1.0),
            FigureLimit::RisesAtMost(1.0),
            FigureLimit::KeepsShare(0.5),
        ] {
            assert!(!limit.holds(&figure(f64::NAN, 0.1)), "{limit:?}");
        }
        let limits =
            [("right".to_owned(), FigureLimit::Rises), ("loss".into(), FigureLimit::Rises)];
        let verdict = judge(&limits, &[figure(0.2, 0.1)]);
        assert_eq!([verdict[0].holds, verdict[1].holds], [true, false]);
    }
}
