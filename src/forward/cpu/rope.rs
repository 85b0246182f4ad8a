//! Rotary positions: pairs of dimensions turned by an angle that grows with the position.
//!
//! The angle of pair `i` is `position * base^(-2i / size)`, stretched for long contexts: divided by
//! a factor (linear); by a factor per frequency that the model brings along (llama3); or as YaRN
//! says (Peng et al. 2023, <https://arxiv.org/abs/2309.00071>): high frequencies as they are, low
//! ones divided, a ramp between, and the turned dimensions made longer by `1 + 0.1 ln(factor)`. A
//! model may bring a factor on that length. Angles are computed in `f64`, once per column and pass.

use std::f64::consts::TAU;

use super::Column;
use crate::forward::params::RopeParams;
use crate::model::RopeScaling;

/// Turns over the original context above which YaRN leaves a frequency alone.
const YARN_FAST: f64 = 32.0;
/// Turns over the original context below which YaRN divides a frequency by the whole factor.
const YARN_SLOW: f64 = 1.0;

/// The angles of one model: a frequency per pair, and the factor on cosine and sine.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    frequencies: Vec<f64>,
    length: f64,
}

impl Rotation {
    /// The frequencies after stretching. `factors` are those of `rope_freqs.weight`, if the model
    /// has it.
    pub fn new(params: &RopeParams, factors: Option<&[f32]>) -> Self {
        let (size, base, factor) =
            (f64::from(params.size), f64::from(params.base), f64::from(params.factor));
        let pairs = params.size as usize / 2;
        let mut frequencies: Vec<f64> =
            (0..pairs).map(|pair| base.powf(-2.0 * pair as f64 / size)).collect();
        // Whatever the kind of scaling: a file that brings divisors means them.
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
                // No less than 0.001, as in llama.cpp: with both ends in one pair it is a step.
                let ramp = ((pair as f64 - first) / (last - first).max(0.001)).clamp(0.0, 1.0);
                *frequency *= (1.0 - ramp) + ramp / factor;
            }
            length *= 1.0 + 0.1 * factor.max(1.0).ln();
        }
        Self { frequencies, length }
    }

    /// Cosine and sine of every pair for every column, one column after another.
    pub(crate) fn angles(&self, columns: &[Column], out: &mut Vec<[f32; 2]>) {
        out.clear();
        for column in columns {
            // In `f64` up to here: as `f32` the angle of position 100,000 would be off by 0.004.
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
    let turned =
        |[cosine, sine]: [f32; 2], a: f32, b: f32| (a * cosine - b * sine, a * sine + b * cosine);
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
        Rotation::new(&params(RopeKind::Pairs, RopeScaling::Linear), None)
            .angles(&[column(12)], &mut scaled);
        Rotation::new(&params(RopeKind::Pairs, RopeScaling::None), None)
            .angles(&[column(3)], &mut plain);
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

    /// What llama.cpp's `rope_yarn` does to pair `i` at position 1, in f64: the angle, and the
    /// factor on cosine and sine. `ext` is 1 for YaRN and 0 for linear scaling, `scale` one over
    /// the factor.
    fn of_llama_cpp(params: &RopeParams, ext: f64, pair: usize, divisor: f64) -> (f64, f64) {
        let (size, base) = (f64::from(params.size), f64::from(params.base));
        let (scale, context) = (1.0 / f64::from(params.factor), f64::from(params.original_context));
        let extrapolated = base.powf(-2.0 * pair as f64 / size) / divisor;
        let interpolated = scale * extrapolated;
        let of_turns = |turns: f64| {
            size * (context / (turns * 2.0 * std::f64::consts::PI)).ln() / (2.0 * base.ln())
        };
        let low = of_turns(32.0).floor().max(0.0);
        let high = of_turns(1.0).ceil().min(size - 1.0);
        let ramp = 1.0 - ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
        let mix = ramp * ext;
        let angle = interpolated * (1.0 - mix) + extrapolated * mix;
        // The context sets a factor that undoes what `rope_yarn` multiplies with, times the scale
        // of the paper.
        let of_paper = if scale >= 1.0 { 1.0 } else { 1.0 + 0.1 * (1.0 / scale).ln() };
        let length = f64::from(params.attention_factor) * if ext == 0.0 { 1.0 } else { of_paper };
        (angle, length)
    }

    #[test]
    fn frequencies_are_those_of_llama_cpp() {
        let models = [
            // size, base, factor, context before, factor on the length
            (64, 10_000.0, 4.0, 4096, 1.0),
            (128, 1_000_000.0, 4.0, 32_768, 1.0),
            (128, 5_000_000.0, 40.0, 4096, 0.5),
            (16, 500_000.0, 8.0, 32, 1.5),
            (8, 100.0, 0.5, 100_000, 1.0),
            (2, 10_000.0, 3.0, 1, 2.0),
        ];
        for (size, base, factor, original_context, attention_factor) in models {
            for (scaling, ext) in [(RopeScaling::Linear, 0.0), (RopeScaling::Yarn, 1.0)] {
                let divisors: Vec<f32> =
                    (0..size / 2).map(|pair| 1.0 + pair as f32 / 3.0).collect();
                for divisors in [None, Some(divisors.as_slice())] {
                    let params = RopeParams {
                        size,
                        base,
                        factor,
                        original_context,
                        attention_factor,
                        ..params(RopeKind::Halves, scaling)
                    };
                    let rotation = Rotation::new(&params, divisors);
                    assert_eq!(rotation.frequencies.len(), size as usize / 2);
                    for (pair, &frequency) in rotation.frequencies.iter().enumerate() {
                        let divisor = divisors.map_or(1.0, |divisors| f64::from(divisors[pair]));
                        let (angle, length) = of_llama_cpp(&params, ext, pair, divisor);
                        assert!((frequency / angle - 1.0).abs() < 1e-12, "{params:?}, pair {pair}");
                        assert!((rotation.length - length).abs() < 1e-12, "{params:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn frequencies_are_those_of_transformers() {
        // `_compute_yarn_parameters` with truncation, Qwen 2.5's published stretch to 128 Ki.
        let params = RopeParams {
            size: 128,
            base: 1e6,
            factor: 4.0,
            original_context: 32_768,
            ..params(RopeKind::Halves, RopeScaling::Yarn)
        };
        let rotation = Rotation::new(&params, None);
        let (low, high) = (23.0, 40.0);
        for (pair, &frequency) in rotation.frequencies.iter().enumerate() {
            let kept = 1e6_f64.powf(-(2.0 * pair as f64) / 128.0);
            let keep = 1.0 - ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            let expected = kept / 4.0 * (1.0 - keep) + kept * keep;
            assert!((frequency / expected - 1.0).abs() < 1e-12, "pair {pair}");
        }
        assert!((rotation.length - (0.1 * 4.0_f64.ln() + 1.0)).abs() < 1e-12);
    }

    #[test]
    fn the_attention_factor_lengthens_whatever_the_scaling() {
        for (scaling, length) in
            [(RopeScaling::None, 1.5), (RopeScaling::Yarn, 1.5 * 1.138_629_436)]
        {
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
        for ((scaled, plain), factor) in
            scaled.frequencies.iter().zip(&plain.frequencies).zip(factors)
        {
            assert!((scaled * f64::from(factor) - plain).abs() < 1e-12);
        }
    }
}
