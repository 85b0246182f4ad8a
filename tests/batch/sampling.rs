//! The sampler keeps what it promises, and draws what the distribution says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use pixel_llm::forward::sampling::{Key, Sampler, SamplingError, SamplingParams};
use proptest::prelude::*;

fn off() -> SamplingParams {
    SamplingParams {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        ..SamplingParams::default()
    }
}

fn draw(logits: &[f32], params: &SamplingParams, window: &[u32], index: u32) -> u32 {
    let words = params.words(Key::new(params.seed, 1), index);
    Sampler::default().sample(logits, &words, window, &params.logit_bias).unwrap()
}

fn softmax(logits: &[f32], temperature: f32) -> Vec<f64> {
    let scaled: Vec<f64> =
        logits.iter().map(|&logit| f64::from(logit) / f64::from(temperature)).collect();
    let max = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = scaled.iter().map(|logit| (logit - max).exp()).collect();
    let sum: f64 = shares.iter().sum();
    shares.iter().map(|share| share / sum).collect()
}

/// The tokens that the filters keep, by their definition: everything sorted, one filter after the
/// other.
fn kept(logits: &[f32], params: &SamplingParams) -> Vec<u32> {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
    if params.top_k > 0 {
        order.truncate(params.top_k as usize);
    }
    let of_order: Vec<f32> = order.iter().map(|&token| logits[token as usize]).collect();
    if params.top_p < 1.0 {
        let mut sum = 0.0;
        let shares = softmax(&of_order, 1.0);
        let enough = shares.iter().position(|share| {
            sum += share;
            sum >= f64::from(params.top_p)
        });
        order.truncate(enough.map_or(order.len(), |last| last + 1));
    }
    if params.min_p > 0.0 {
        let least = of_order[0] + params.min_p.ln();
        order.retain(|&token| {
            token == order_first(&of_order, logits, token) || logits[token as usize] >= least
        });
    }
    order
}

/// The token itself where it is the first in order, anything else otherwise.
fn order_first(of_order: &[f32], logits: &[f32], token: u32) -> u32 {
    let first = logits.iter().position(|&logit| logit == of_order[0]).unwrap() as u32;
    if token == first { token } else { u32::MAX }
}

/// The chi-square statistic of draws against shares, and its degrees of freedom.
fn chi_square(counts: &[u32], shares: &[f64]) -> (f64, f64) {
    let draws: u32 = counts.iter().sum();
    let mut statistic = 0.0;
    let mut cells: f64 = 0.0;
    for (&count, &share) in counts.iter().zip(shares) {
        if share == 0.0 {
            assert_eq!(count, 0, "a token that was filtered out was drawn");
            continue;
        }
        let expected = share * f64::from(draws);
        assert!(expected >= 5.0, "too few draws for this share: {expected}");
        statistic += (f64::from(count) - expected).powi(2) / expected;
        cells += 1.0;
    }
    (statistic, cells - 1.0)
}

/// A bound that a chi-square variable passes about once in a hundred thousand times (Wilson and
/// Hilferty).
fn chi_square_bound(freedom: f64) -> f64 {
    let part = 2.0 / (9.0 * freedom);
    freedom * (1.0 - part + 4.27 * part.sqrt()).powi(3)
}

const LOGITS: [f32; 10] = [1.0, 0.5, 2.0, -1.0, 0.0, 1.9, -0.3, 0.9, 1.4, -2.0];

fn check_distribution(params: &SamplingParams, shares: &[f64], by_seed: bool) {
    let mut counts = vec![0; LOGITS.len()];
    for i in 0..30_000 {
        let params =
            if by_seed { SamplingParams { seed: i, ..params.clone() } } else { params.clone() };
        let index = if by_seed { 3 } else { i as u32 };
        counts[draw(&LOGITS, &params, &[], index) as usize] += 1;
    }
    let (statistic, freedom) = chi_square(&counts, shares);
    assert!(statistic < chi_square_bound(freedom), "{statistic} at {freedom} degrees: {counts:?}");
}

#[test]
fn draws_follow_the_softmax_over_indices_and_over_seeds() {
    for temperature in [0.7, 1.0, 1.7] {
        let params = SamplingParams { temperature, ..off() };
        for by_seed in [false, true] {
            check_distribution(&params, &softmax(&LOGITS, temperature), by_seed);
        }
    }
}

#[test]
fn draws_follow_the_softmax_of_what_filters_keep() {
    for params in [
        SamplingParams { top_k: 4, ..off() },
        SamplingParams { top_p: 0.7, temperature: 1.5, ..off() },
        SamplingParams { min_p: 0.3, ..off() },
        SamplingParams { top_k: 6, top_p: 0.8, min_p: 0.2, temperature: 0.7, ..off() },
    ] {
        let kept = kept(&LOGITS, &params);
        assert!(kept.len() > 1 && kept.len() < LOGITS.len());
        let masked: Vec<f32> = (0..LOGITS.len() as u32)
            .map(
                |token| {
                    if kept.contains(&token) { LOGITS[token as usize] } else { f32::NEG_INFINITY }
                },
            )
            .collect();
        check_distribution(&params, &softmax(&masked, params.temperature), false);
    }
}

#[test]
fn neighbouring_tokens_and_indices_are_independent() {
    // Two equal tokens of one hash: over pairs of indices, all four pairs of draws are equally
    // likely.
    let mut counts = [0; 4];
    for pair in 0..20_000 {
        let first = draw(&[0.0, 0.0], &off(), &[], 2 * pair);
        let second = draw(&[0.0, 0.0], &off(), &[], 2 * pair + 1);
        counts[(2 * first + second) as usize] += 1;
    }
    let (statistic, freedom) = chi_square(&counts, &[0.25; 4]);
    assert!(statistic < chi_square_bound(freedom), "{statistic}: {counts:?}");
}

#[test]
fn a_large_vocabulary_is_drawn_from_evenly() {
    // 4096 equal tokens, folded to 64 cells: the order in which tokens are looked at must not
    // matter.
    let logits = vec![0.25; 4096];
    let mut counts = [0; 64];
    for index in 0..6400 {
        counts[draw(&logits, &off(), &[], index) as usize % 64] += 1;
    }
    let (statistic, freedom) = chi_square(&counts, &[1.0 / 64.0; 64]);
    assert!(statistic < chi_square_bound(freedom), "{statistic}");
}

#[test]
fn ties_go_to_the_lowest_id() {
    assert_eq!(draw(&[1.0, 3.0, 3.0, 2.0, 3.0], &SamplingParams::greedy(), &[], 0), 1);
    assert_eq!(draw(&[-0.0, 0.0], &SamplingParams::greedy(), &[], 0), 0);
    let one = SamplingParams { top_k: 1, ..off() };
    assert!((0..50).all(|index| draw(&[1.0, 3.0, 3.0, 2.0], &one, &[], index) == 1));
}

#[test]
fn penalties_are_those_of_the_definition() {
    let greedy = SamplingParams::greedy();
    // 3.0 / 2 is under 2.0, and -1.0 * 2 is under -1.5.
    let repeat = SamplingParams { repeat_penalty: 2.0, ..greedy.clone() };
    assert_eq!(draw(&[3.0, 2.0], &repeat, &[0], 0), 1);
    assert_eq!(draw(&[-1.0, -1.5], &repeat, &[0], 0), 1);
    assert_eq!(
        draw(&[3.0, 1.4], &repeat, &[0, 0, 0], 0),
        0,
        "repetition does not count occurrences"
    );
    let frequency = SamplingParams { frequency_penalty: 0.5, ..greedy.clone() };
    assert_eq!(draw(&[3.0, 2.0], &frequency, &[0], 0), 0);
    assert_eq!(draw(&[3.0, 2.0], &frequency, &[0, 0, 0], 0), 1);
    let presence = SamplingParams { presence_penalty: 1.5, ..greedy.clone() };
    assert_eq!(draw(&[3.0, 2.0], &presence, &[0, 0, 0], 0), 1);
    assert_eq!(
        draw(&[3.0, 1.4], &presence, &[0, 0, 0], 0),
        0,
        "presence does not count occurrences"
    );
    let bias = SamplingParams { logit_bias: vec![(1, 5.0)], ..greedy };
    assert_eq!(draw(&[3.0, 2.0], &bias, &[], 0), 1);
}

#[test]
fn logits_that_are_no_numbers_are_an_error() {
    let mut sampler = Sampler::default();
    let words = off().words(Key::new(0, 0), 0);
    let error = sampler.sample(&[f32::NAN, f32::NEG_INFINITY], &words, &[], &[]).unwrap_err();
    assert_eq!(error, SamplingError::NoCandidate { vocab: 2 });
    assert_eq!(
        sampler.sample(&[1.0], &words, &[], &[(4, 1.0)]).unwrap_err().to_string(),
        "token 4 is outside the vocabulary of 1"
    );
    let greedy = SamplingParams::greedy().words(Key::new(0, 0), 0);
    for logits in [[f32::NAN, 1.0, 2.0], [1.0, f32::INFINITY, 3.0], [1.0, 2.0, -f32::NAN]] {
        for words in [words, greedy] {
            let error = Err(SamplingError::NoCandidate { vocab: 3 });
            assert_eq!(sampler.sample(&logits, &words, &[], &[]), error, "{logits:?}");
        }
        assert!(sampler.score(&logits, 1, 0).is_err(), "{logits:?}");
    }
    assert_eq!(
        sampler.sample(&[f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY], &words, &[], &[]),
        Ok(1)
    );
}

#[test]
fn the_draws_of_a_seed_are_these() {
    // The figures were computed from the definition in Python. If this fails, the same seed no
    // longer gives the same text as in earlier versions, nor on the GPU.
    let params = SamplingParams { seed: 42, temperature: 1.0, ..off() };
    let drawn: Vec<u32> = (0..16).map(|index| draw(&LOGITS, &params, &[], index)).collect();
    assert_eq!(drawn, SEEDED);
}

const SEEDED: [u32; 16] = [5, 5, 8, 8, 2, 5, 8, 7, 8, 8, 2, 0, 5, 4, 8, 1];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn only_kept_tokens_are_drawn(
        logits in prop::collection::vec(-12.0f32..12.0, 1..400),
        top_k in 0u32..60,
        top_p in 0.05f32..=1.0,
        min_p in prop::sample::select(vec![0.0f32, 0.01, 0.2, 1.0]),
        seed: u64, temperature in 0.1f32..20.0,
    ) {
        let params = SamplingParams { top_k, top_p, min_p, seed, temperature, ..off() };
        let kept = kept(&logits, &params);
        for index in 0..8 {
            let token = draw(&logits, &params, &[], index);
            // A sum within rounding of top-p may keep one more; such cases are too rare to come up
            // here.
            prop_assert!(kept.contains(&token), "{token} of {kept:?}");
        }
    }

    #[test]
    fn a_kept_list_of_one_is_the_best_token(
        logits in prop::collection::vec(-5.0f32..5.0, 1..200), seed: u64, index: u32,
    ) {
        let best = draw(&logits, &SamplingParams::greedy(), &[], 0);
        for params in [
            SamplingParams { top_k: 1, seed, ..off() },
            SamplingParams { top_p: 1e-6, seed, ..off() },
            SamplingParams { min_p: 1.0, top_k: 1, seed, ..off() },
        ] {
            prop_assert_eq!(draw(&logits, &params, &[], index), best);
        }
    }

    #[test]
    fn a_sampler_remembers_nothing(
        first in prop::collection::vec(-5.0f32..5.0, 1..300),
        second in prop::collection::vec(-5.0f32..5.0, 10..300),
        top_k in 0u32..20, seed: u64,
    ) {
        let params = SamplingParams { top_k, seed, repeat_penalty: 1.2, ..off() };
        let words = params.words(Key::new(seed, 0), 5);
        let mut used = Sampler::default();
        used.sample(&first, &words, &[0], &[]).unwrap();
        prop_assert_eq!(
            used.sample(&second, &words, &[1, 2, 2], &[]),
            Sampler::default().sample(&second, &words, &[1, 2, 2], &[])
        );
    }

    #[test]
    fn log_probabilities_are_the_logarithms_of_the_softmax(
        logits in prop::collection::vec(-30.0f32..30.0, 1..300), count in 0usize..25,
    ) {
        let scored = Sampler::default().score(&logits, 0, count).unwrap();
        let shares = softmax(&logits, 1.0);
        prop_assert!((f64::from(scored.logprob.unwrap()) - shares[0].ln()).abs() < 1e-4);
        prop_assert_eq!(scored.top.len(), count.min(logits.len()));
        let order = kept(&logits, &off());
        for ((token, logprob), expected) in scored.top.iter().zip(order) {
            prop_assert_eq!(*token, expected);
            prop_assert!((f64::from(*logprob) - shares[expected as usize].ln()).abs() < 1e-4);
        }
    }
}
