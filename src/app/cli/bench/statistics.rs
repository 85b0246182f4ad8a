//! What several measurements of one thing come to.

use serde::Serialize;

/// The middle of some samples, and how far they lie apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct MedianOfSamples {
    /// The sample in the middle, or the mean of the two there.
    pub median: f64,
    /// The least sample, 0 where there are none.
    pub least: f64,
    /// The greatest sample, 0 where there are none.
    pub most: f64,
}

impl MedianOfSamples {
    /// The spread of samples; all zero where there are none.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (sorted.first(), sorted.last()) else {
            return Self::default();
        };
        // One and the same sample where their number is odd.
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self { median: f64::midpoint(below, above), least, most }
    }

    /// The greatest distance from the median, as a share of it.
    pub fn noise(&self) -> f64 {
        let distance = (self.most - self.median).max(self.median - self.least);
        if self.median > 0.0 { distance / self.median } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(
            MedianOfSamples::of(&[5.0, 1.0, 3.0]),
            MedianOfSamples { median: 3.0, least: 1.0, most: 5.0 }
        );
        assert_eq!(
            MedianOfSamples::of(&[4.0, 1.0, 3.0, 100.0]),
            MedianOfSamples { median: 3.5, least: 1.0, most: 100.0 }
        );
        assert_eq!(
            MedianOfSamples::of(&[7.0]),
            MedianOfSamples { median: 7.0, least: 7.0, most: 7.0 }
        );
        assert_eq!(MedianOfSamples::of(&[]), MedianOfSamples::default());
    }

    #[test]
    fn noise_is_the_greater_distance() {
        assert_eq!(MedianOfSamples::of(&[5.0, 10.0, 12.0]).noise(), 0.5);
        assert_eq!(MedianOfSamples::of(&[10.0, 10.0, 12.0]).noise(), 0.2);
        assert_eq!(MedianOfSamples::default().noise(), 0.0);
    }
}
