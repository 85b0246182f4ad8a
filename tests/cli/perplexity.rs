//! `pixel-llm perplexity` and the scoring below it, against logits of the forward pass and a
//! log-softmax of their own.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::common::toy_engine::{Toy, VOCAB, logits, mix};
use assert_cmd::Command;
use pixel_llm::batch::ModelText;
use pixel_llm::batch::perplexity::{Likelihood, Windows, score_window};
use pixel_llm::engine::Engine;
use pixel_llm::forward::Interventions;
use pixel_llm::forward::cpu::{Column, CpuModel, CpuOptions, KvCache};
use pixel_llm::model::tokenizer::EncodeOptions;
use serde_json::Value;

const TEXT: &str = "Once upon a time, on the map, there was a little bird. Her name was Ivy. Ivy \
    had a good friend, a careful hedgehog named Tidex. It was a rainy morning. The river was \
    loud. \"I am faster than you,\" said Tidex to Ivy. \"Let us race from the square to the \
    workshop.\" Tidex was ahead. But Tidex took the wrong road, because she did not read the \
    sign. Ivy read the sign and went on. Ivy came to the workshop first and won the race.";

/// The definition: minus the logarithm of the token's share of the exponentials.
fn loss(logits: &[f32], token: u32) -> f64 {
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    sum.ln() - f64::from(logits[token as usize])
}

/// Mean and standard error, from their definitions.
fn mean_and_error(losses: &[f64]) -> (f64, f64) {
    let count = losses.len() as f64;
    let mean = losses.iter().sum::<f64>() / count;
    let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}

/// The losses of the tokens that `scored` names in each window, by whole forward passes.
fn losses(
    tokens: &[u32],
    starts: &[usize],
    length: usize,
    scored: std::ops::Range<usize>,
) -> Vec<f64> {
    let model = CpuModel::new(
        pixel_llm::app::kinds::assets().default_model().unwrap(),
        CpuOptions::default(),
    )
    .unwrap();
    let mut cache = KvCache::new(model.config(), 1, length);
    let mut losses = Vec::new();
    for &start in starts {
        let window = &tokens[start..start + length];
        cache.truncate(0, 0);
        let columns: Vec<Column> = (0..)
            .zip(window)
            .map(|(position, &token)| Column { token, slot: 0, position, wants_logits: true })
            .collect();
        let logits = model.forward(&mut cache, &columns, &Interventions::default(), None).unwrap();
        losses.extend(scored.clone().map(|at| loss(logits.column(at - 1).unwrap(), window[at])));
    }
    losses
}

fn perplexity(args: &[&str], text: &str) -> Value {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.arg("perplexity").args(args).args(["--device", "cpu", "--json"]).write_stdin(text);
    serde_json::from_slice(&command.assert().success().get_output().stdout).unwrap()
}

#[test]
fn the_seedlings_perplexity_is_that_of_its_logits() {
    let model = pixel_llm::app::kinds::assets().default_model().unwrap();
    let text = ModelText::new(&model).unwrap();
    let tokens = text.tokenizer().encode(TEXT, EncodeOptions::default());
    assert!(tokens.len() > 100, "{}", tokens.len());
    // Seedling puts no token before a text, so the windows are the text's tokens as they are.
    let side_by_side: Vec<usize> = (0..tokens.len() / 40).map(|index| index * 40).collect();
    let striding: Vec<usize> = (0..=(tokens.len() - 40) / 16).map(|index| index * 16).collect();
    for (more, starts, scored) in
        [(&[][..], side_by_side, 21..40), (&["--stride", "16"][..], striding, 24..40)]
    {
        let expected = losses(&tokens, &starts, 40, scored);
        let (mean, error) = mean_and_error(&expected);
        let report = perplexity(&[&["-", "--context", "40"], more].concat(), TEXT);
        let near = |name: &str, expected: f64| {
            let found = report[name].as_f64().unwrap();
            assert!(
                (found / expected - 1.0).abs() < 1e-4,
                "{name} {more:?}: {found}, expected {expected}"
            );
        };
        near("mean_negative_log_likelihood", mean);
        near("standard_error", error);
        near("perplexity", mean.exp());
        near("perplexity_standard_error", mean.exp() * error);
        assert_eq!(report["scored_tokens"], expected.len());
        assert_eq!(
            (&report["windows"], &report["tokens"]),
            (&starts.len().into(), &tokens.len().into())
        );
    }
}

#[test]
fn a_window_in_pieces_has_the_scores_of_a_whole_one() {
    let window: Vec<u32> = (0..50).map(|index| index * 31 % 200).collect();
    // What the toy has at a position depends on every token before it, the first of which is
    // another here.
    const FIRST: u32 = 7;
    let mut state = 1;
    let mut expected = Likelihood::default();
    for (position, &token) in window.iter().enumerate() {
        if position >= 30 {
            expected.push(-loss(&logits(state), token));
        }
        let token = if position == 0 { FIRST } else { token };
        state = mix(state, mix(u64::from(token) + 1, position as u64));
    }
    for columns in [1, 7, 64] {
        let mut found = Likelihood::default();
        let mut toy = Toy::new(1, columns, 1);
        score_window(&mut toy, &Windows::striding(50, 20), Some(FIRST), &window, &mut found)
            .unwrap();
        assert_eq!(found.count(), 20);
        assert!((found.mean() - expected.mean()).abs() < 1e-5, "{found:?}, expected {expected:?}");
        assert_eq!(toy.columns, 49, "the last token need not go in");
    }
    assert_eq!(Toy::new(1, 1, 1).capacity().vocab, VOCAB);
}

#[test]
fn special_tokens_are_text_unless_said_otherwise() {
    let text = "Once upon a time, there was a bird.<|endoftext|>".repeat(8);
    let tokens = |more: &[&str]| {
        let report = perplexity(&[&["-", "--context", "32"], more].concat(), &text);
        (report["tokens"].as_u64().unwrap(), report["perplexity"].as_f64().unwrap())
    };
    let (as_text, as_tokens) = (tokens(&[]), tokens(&["--parse-special"]));
    assert!(
        as_text.0 > as_tokens.0 + 8 * 4 && as_text.1 > as_tokens.1,
        "{as_text:?}, {as_tokens:?}"
    );
}

#[test]
fn what_cannot_be_scored_says_why() {
    let error = |args: &[&str], input: &[u8]| {
        let mut command = Command::cargo_bin("pixel-llm").unwrap();
        let assert = command.arg("perplexity").args(args).write_stdin(input).assert().code(2);
        String::from_utf8(assert.get_output().stderr.clone()).unwrap()
    };
    let short = error(&["-", "--context", "64"], b"Once upon a time");
    assert!(
        short.contains("standard input: the text has ") && short.contains("smaller --context"),
        "{short}"
    );
    assert!(error(&["-"], b"\xff\xfe").contains("the text is not UTF-8"));
    assert!(error(&["none.txt"], b"").contains("none.txt: cannot read"));
    assert!(error(&["-", "--context", "4096"], TEXT.repeat(80).as_bytes()).contains("at most 512"));
    let stride = error(&["-", "--context", "64", "--stride", "64"], TEXT.as_bytes());
    assert!(stride.contains("--stride 64: expected less than the context of 64"), "{stride}");
}
