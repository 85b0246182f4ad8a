//! Figures of oracles, and how the logits of any forward pass are held to them.

use std::path::Path;

use serde::Deserialize;

use super::forward::log_softmax;

/// Where two tokens are closer than this, in nats, rounding may decide which comes first.
pub const MARGIN: f32 = 0.02;

/// A text with what a float64 oracle says of it.
#[derive(Deserialize)]
pub struct GoldenCase {
    pub name: String,
    pub ids: Vec<u32>,
    /// The ten most probable tokens of every position with their log-probabilities.
    pub top: Vec<Vec<(u32, f32)>>,
    /// The mean negative log-likelihood of the text in nats.
    pub nll: f32,
    pub greedy: Vec<u32>,
}

/// The cases of SmolLM2-135M-Instruct Q4_1.
pub fn smollm2_cases() -> Vec<GoldenCase> {
    serde_json::from_str(include_str!("../vectors/smollm2-135m-q4_1.json")).unwrap()
}

impl GoldenCase {
    /// Holds the logits of every position to the oracle's log-probabilities, its best tokens and
    /// its likelihood of the text, and returns the largest error.
    pub fn check(&self, how: &str, logits: &[Vec<f32>], budget: f32) -> f32 {
        assert_eq!(logits.len(), self.ids.len());
        let rows: Vec<Vec<f32>> = logits.iter().map(|row| log_softmax(row)).collect();
        let name = &self.name;
        // What may move one log-probability by a budget moves two apart by twice as much.
        let margin = if budget > MARGIN { 2.0 * budget } else { MARGIN };
        let mut worst = 0f32;
        for (position, (row, top)) in rows.iter().zip(&self.top).enumerate() {
            for &(token, expected) in top {
                let error = (row[token as usize] - expected).abs();
                worst = worst.max(error);
                assert!(
                    error < budget,
                    "{name} {how}, position {position}, token {token}: {error}"
                );
            }
            if top[0].1 - top[1].1 > margin {
                let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
                assert_eq!(best as u32, top[0].0, "{name} {how}, position {position}");
            }
        }
        let losses = rows.iter().zip(&self.ids[1..]).map(|(row, &next)| -row[next as usize]);
        let nll = losses.sum::<f32>() / (self.ids.len() - 1) as f32;
        assert!((nll - self.nll).abs() < budget, "{name} {how}: {nll} for {}", self.nll);
        println!("{name} {how}: largest error of a log-probability {worst}");
        worst
    }
}

#[derive(Deserialize)]
struct SeedlingGoldens {
    cases: Vec<SeedlingCase>,
}

/// A prompt with what PyTorch says of it in F32.
#[derive(Deserialize)]
pub struct SeedlingCase {
    pub prompt: String,
    pub ids: Vec<u32>,
    /// The logits after the last token.
    pub logits: Vec<f32>,
    pub greedy: Vec<u32>,
}

/// The cases of the seedling, which lie beside its files.
pub fn seedling_cases(folder: &Path) -> Vec<SeedlingCase> {
    let goldens = std::fs::read_to_string(folder.join("goldens.json")).unwrap();
    serde_json::from_str::<SeedlingGoldens>(&goldens).unwrap().cases
}

impl SeedlingCase {
    /// Holds the last row of logits to PyTorch's, and returns the largest error.
    pub fn check(&self, how: &str, logits: &[f32], tolerance: f32) -> f32 {
        let mut worst = 0f32;
        for (token, (found, expected)) in logits.iter().zip(&self.logits).enumerate() {
            let error = (found - expected).abs();
            worst = worst.max(error);
            assert!(error < tolerance, "{how} {:?} {token}: {found}, {expected}", self.prompt);
        }
        worst
    }
}

/// Continues after the logits `start` always with the best token, whose logits `next` gives. The
/// tokens must be `expected` until two are within `margin`; how many that were is returned.
pub fn decode_greedily(
    start: &[f32],
    expected: &[u32],
    margin: f32,
    name: &str,
    mut next: impl FnMut(u32) -> Vec<f32>,
) -> usize {
    let mut row = start.to_vec();
    for (step, &expected) in expected.iter().enumerate() {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.select_nth_unstable_by(1, |&a, &b| row[b].total_cmp(&row[a]));
        if row[order[0]] - row[order[1]] < margin {
            return step;
        }
        assert_eq!(order[0] as u32, expected, "{name}: step {step}");
        row = next(expected);
    }
    expected.len()
}
