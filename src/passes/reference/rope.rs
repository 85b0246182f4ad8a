//! Rotary positions: pairs of dimensions turned by an angle that grows with the position.
//!
//! The angle of pair `i` is `position * base^(-2i / size)`, stretched for long contexts: divided by a factor (linear); by a factor per frequency
//! that the model brings along (llama3); or as YaRN says (Peng et al. 2023, <https://arxiv.org/abs/2309.00071>): high frequencies as they are, low ones
//! divided, a ramp between, and the turned dimensions made longer by `1 + 0.1 ln(factor)`. A model may bring a factor on that length. Angles are computed in `f64`, once per column and pass.

use std::f64::consts::TAU;

use super::Column;
use crate::model::RopeScaling;
use crate::passes::params::RopeParams;

/// Turns over the original context above which YaRN leaves a frequency alone.
const YARN_FAST: f64 = 32.0;
/// Turns over the original context below which YaRN divides a frequency by the whole factor.
const YARN_SLOW: f64 = 1.0;

/// The angles of one model: a frequency per pair, and the factor on cosine and sine.
#[derive(Debug, Clone)]
pub struct Rotation {
    frequencies: Vec<f64>,
    length: f64,
}

impl Rotation {
    /// The frequencies after stretching. `factors` are those of `rope_freqs.weight`, if the model has it.
    pub fn new(params: &RopeParams, factors: Option<&[f32]>) -> Self {
        let (size, base, factor) = (f64::from(params.size), f64::from(params.base), f64::from(params.factor));
        let pairs = params.size as usize / 2;
        let mut frequencies: Vec<f64> = (0..pairs).map(|pair| base.powf(-2.0 * pair as f64 / size)).collect();
        for (frequency, &factor) in frequencies.iter_mut().zip(factors.unwrap_or_default()) {
            *frequency /= f64::from(factor);
        }
        let mut length = f64::from(params.attention_factor);
        if params.is_scaled(RopeScaling::Linear) {
            frequencies.iter_mut().for_each(|frequency| *frequency /= factor);
        } else if params.is_scaled(RopeScaling::Yarn) {
            // The pair that makes this many turns over the original context.
            let context = f64::from(params.original_context.max(1));
            let pair_of = |turns: f64| size * (context / (turns * TAU)).ln() / (2.0 * base.ln());
            let first = pair_of(YARN_FAST).floor().max(0.0);
            let last = pair_of(YARN_SLOW).ceil().min(size - 1.0);
            for (pair, frequency) in frequencies.iter_mut().enumerate() {
                let ramp = ((pair as f64 - first) / (last - first).max(0.001)).clamp(0.0, 1.0);
                *frequency *= (1.0 - ramp) + ramp / factor;
            }
            length *= 1.0 + 0.1 * factor.max(1.0).ln();
        }
        Self { frequencies, length }
    }

    /// Cosine and sine of every pair for every column, one column after another.
    pub fn angles(&self, columns: &[Column], out: &mut Vec<[f32; 2]>) {
        out.clear();
        for column in columns {
            let position = f64::from(column.position);
            out.extend(self.frequencies.iter().map(|frequency| {
                let (sine, cosine) = (position * frequency).sin_cos();
                [(cosine * self.length) as f32, (sine * self.length) as f32]
            }));
        }
    }
}

/// Turns one head in place by the angles of its column.
pub fn turn(params: &RopeParams, angles: &[[f32; 2]], head: &mut [f32]) {
    let turned = |[cosine, sine]: [f32; 2], a: f32, b: f32| (a * cosine - b * sine, a * sine + b * cosine);
    let head = &mut head[..params.size as usize];
    if params.turns_pairs() {
        for ([a, b], &angle) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
            (*a, *b) = turned(angle, *a, *b);
        }
    } else {
        let (low, high) = head.split_at_mut(params.size as usize / 2);
        for ((a, b), &angle) in low.iter_mut().zip(high).zip(angles) {
            (*a, *b) = turned(angle, *a, *b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RopeKind;

    fn params(kind: RopeKind, scaling: RopeScaling) -> RopeParams {
        RopeParams {
            size: 8,
            kind: kind as u32,
            scaling: scaling as u32,
            original_context: 64,
            base: 10_000.0,
            factor: 4.0,
            attention_factor: 1.0,
            padding: 0,
        }
    }

    fn column(position: u32) -> Column {
        Column { token: 0, slot: 0, position, wants_logits: false }
    }

    #[test]
    fn a_turn_keeps_lengths_and_leaves_the_rest_of_the_head() {
        for kind in [RopeKind::Pairs, RopeKind::Halves] {
            let params = params(kind, RopeScaling::None);
            let mut angles = Vec::new();
            Rotation::new(&params, None).angles(&[column(5)], &mut angles);
            let mut head: Vec<f32> = (1..=10).map(|value| value as f32).collect();
            turn(&params, &angles, &mut head);
            let square: f32 = head[..8].iter().map(|value| value * value).sum();
            assert!((square - 204.0).abs() < 1e-3, "{square}");
            assert_eq!(head[8..], [9.0, 10.0]);
            let (a, b) = if kind == RopeKind::Pairs { (1.0f32, 2.0f32) } else { (1.0, 5.0) };
            assert!((head[0] - (a * 5f32.cos() - b * 5f32.sin())).abs() < 1e-5);
        }
    }

    #[test]
    fn linear_scaling_is_a_smaller_position() {
        let (mut scaled, mut plain) = (Vec::new(), Vec::new());
        Rotation::new(&params(RopeKind::Pairs, RopeScaling::Linear), None).angles(&[column(12)], &mut scaled);
        Rotation::new(&params(RopeKind::Pairs, RopeScaling::None), None).angles(&[column(3)], &mut plain);
        for (a, b) in scaled.iter().flatten().zip(plain.iter().flatten()) {
            assert!((a - b).abs() < 1e-6);
        }
    }

    #[test]
    fn yarn_keeps_fast_frequencies_and_divides_slow_ones() {
        let rotation = Rotation::new(&params(RopeKind::Halves, RopeScaling::Yarn), None);
        let plain = Rotation::new(&params(RopeKind::Halves, RopeScaling::None), None);
        assert_eq!(rotation.frequencies[0], plain.frequencies[0]);
        assert!((rotation.frequencies[3] * 4.0 - plain.frequencies[3]).abs() < 1e-12);
        assert!((rotation.length - 1.138_629).abs() < 1e-6);
    }

    #[test]
    fn the_attention_factor_lengthens_whatever_the_scaling() {
        for (scaling, length) in [(RopeScaling::None, 1.5), (RopeScaling::Yarn, 1.5 * 1.138_629_436)] {
            let params = RopeParams { attention_factor: 1.5, ..params(RopeKind::Pairs, scaling) };
            let rotation = Rotation::new(&params, None);
            assert!((rotation.length - length).abs() < 1e-6, "{scaling:?}: {}", rotation.length);
        }
        // A factor below one shortens nothing.
        let params = RopeParams { factor: 0.5, ..params(RopeKind::Pairs, RopeScaling::Yarn) };
        assert_eq!(Rotation::new(&params, None).length, 1.0);
    }

    #[test]
    fn llama3_divides_each_frequency_by_its_own_factor() {
        let factors = [1.0, 2.0, 4.0, 8.0];
        let scaled = Rotation::new(&params(RopeKind::Pairs, RopeScaling::Llama3), Some(&factors));
        let plain = Rotation::new(&params(RopeKind::Pairs, RopeScaling::None), None);
        for ((scaled, plain), factor) in scaled.frequencies.iter().zip(&plain.frequencies).zip(factors) {
            assert!((scaled * f64::from(factor) - plain).abs() < 1e-12);
        }
    }
}
