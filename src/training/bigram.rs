//! A trainer for tests that need no transformer: the next token from the last one alone, by exact
//! gradients and AdamW.

use super::optimizer::{AdamW, Updated, sum_of_squares};
use super::{LossSum, Parameter, Sequence, StepReport, TrainError, Trainer, TrainerState};

/// Rows of the table: tokens share them by their remainder.
const ROWS: usize = 61;

/// A table of logits, a row for each remainder of the last token.
pub struct Bigram {
    optimizer: AdamW,
    vocab: usize,
    state: TrainerState,
    /// Multiplies every loss, so that a test can make it no number.
    pub fault: Box<dyn Fn(&Sequence) -> f64 + Send>,
}

impl Bigram {
    pub fn new(vocab: usize) -> Self {
        let zeros = || vec![0.0; ROWS * vocab];
        let table = Parameter {
            name: "table".into(),
            rows: ROWS,
            columns: vocab,
            values: zeros(),
            first: zeros(),
            second: zeros(),
        };
        let state = TrainerState { step: 0, parameters: vec![table] };
        Self { optimizer: AdamW::default(), vocab, state, fault: Box::new(|_| 1.0) }
    }

    /// The loss of sequences, and its gradient added up.
    fn pass(&self, sequences: &[Sequence], mut gradient: Option<&mut [f32]>) -> LossSum {
        let mut sum = LossSum::default();
        for sequence in sequences {
            let weight = f64::from(sequence.weight);
            for (at, _) in sequence.is_target.iter().enumerate().filter(|(_, is)| **is) {
                let row = sequence.tokens[at - 1] as usize % ROWS * self.vocab;
                let target = sequence.tokens[at] as usize;
                let logits = &self.state.parameters[0].values[row..row + self.vocab];
                let most = logits.iter().fold(f32::MIN, |most, &logit| most.max(logit));
                let total: f64 = logits.iter().map(|&it| f64::from(it - most).exp()).sum();
                sum.sum += weight * (total.ln() - f64::from(logits[target] - most));
                sum.weight += weight;
                if let Some(gradient) = &mut gradient {
                    for (token, logit) in logits.iter().enumerate() {
                        let share = f64::from(logit - most).exp() / total;
                        let is_target = f64::from(u8::from(token == target));
                        gradient[row + token] += (weight * (share - is_target)) as f32;
                    }
                }
            }
        }
        sum
    }

    fn check(&self, sequences: &[Sequence]) -> Result<(), TrainError> {
        for (sequence, content) in sequences.iter().enumerate() {
            let loss = (self.fault)(content);
            if !loss.is_finite() {
                return Err(TrainError::Loss { sequence, loss });
            }
        }
        Ok(())
    }
}

impl Trainer for Bigram {
    fn step(
        &mut self,
        sequences: &[Sequence],
        rate: f32,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<StepReport, TrainError> {
        self.check(sequences)?;
        let mut gradient = vec![0.0; ROWS * self.vocab];
        let sum = self.pass(sequences, Some(&mut gradient));
        gradient.iter_mut().for_each(|it| *it /= sum.weight as f32);
        if stop() {
            return Err(TrainError::Stopped);
        }
        let norm = sum_of_squares(&gradient).sqrt();
        let factor = self.optimizer.clip_factor(norm);
        self.state.step += 1;
        let step = self.state.step;
        let Parameter { values, first, second, .. } = &mut self.state.parameters[0];
        let updated = Updated { values, gradient: &gradient, first, second, decays: true };
        self.optimizer.update(rate, step, factor, updated);
        Ok(StepReport::new(sum.mean(), norm, sequences))
    }

    fn loss(
        &mut self,
        sequences: &[Sequence],
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<LossSum, TrainError> {
        if stop() { Err(TrainError::Stopped) } else { Ok(self.pass(sequences, None)) }
    }

    fn state(&mut self) -> Result<TrainerState, TrainError> {
        Ok(self.state.clone())
    }

    fn restore(&mut self, state: TrainerState) -> Result<(), TrainError> {
        self.state = state;
        Ok(())
    }
}
