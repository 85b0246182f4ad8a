//! A step on its way through the device, a few dispatches at a time: what else is to be done, a
//! frame to be drawn for example, can be done between any two of them.

use std::collections::VecDeque;

use super::device::Learner;
use super::pass::{SequencePass, passes};
use super::program::Op;
use crate::forward::gpu::readback::PendingReadback;
use crate::training::{LossSum, Sequence, TrainError};

/// Submissions on the device at once: one that is computed, and one that it goes on with.
const IN_FLIGHT: usize = 2;

/// How much is submitted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    /// A layer, where nothing else waits for the device.
    Layer,
    /// A dispatch, where frames are drawn beside it.
    Dispatch,
}

/// What has been computed of a step.
#[derive(Debug)]
pub struct StepUnderWay {
    passes: VecDeque<SequencePass>,
    /// What is left of the first pass, each piece with its label; none before it begins.
    pieces: Option<VecDeque<(&'static str, Vec<Op>)>>,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    losses: Option<PendingReadback>,
    learns: bool,
    grain: Grain,
    begins: bool,
    sum: LossSum,
}

impl StepUnderWay {
    /// A step of some sequences, or their losses alone.
    ///
    /// # Errors
    /// None of their tokens is a target.
    pub(super) fn new(
        sequences: &[Sequence],
        columns: u32,
        learns: bool,
        grain: Grain,
    ) -> Result<Self, TrainError> {
        let of = |sequence: &Sequence| f64::from(sequence.weight) * sequence.targets() as f64;
        let weight: f64 = sequences.iter().map(of).sum();
        if weight == 0.0 {
            return Err(TrainError::Model("no token of the step is a target".into()));
        }
        Ok(Self {
            passes: passes(sequences, columns as usize, 1.0 / weight).into(),
            pieces: None,
            in_flight: VecDeque::new(),
            losses: None,
            learns,
            grain,
            begins: true,
            sum: LossSum { sum: 0.0, weight },
        })
    }

    /// Does the next part; gives the losses when all is done.
    ///
    /// # Errors
    /// A loss is no number, or the device does not answer.
    pub(super) fn advance(&mut self, learner: &Learner) -> Result<Option<LossSum>, TrainError> {
        let Some(pass) = self.passes.front() else { return Ok(Some(self.sum)) };
        let pieces = match &mut self.pieces {
            Some(pieces) => pieces,
            none => {
                learner.write_pass(pass, std::mem::take(&mut self.begins));
                none.insert(pieces_of(learner, self.learns, self.grain))
            }
        };
        if let Some((label, ops)) = pieces.pop_front() {
            if self.in_flight.len() == IN_FLIGHT
                && let Some(oldest) = self.in_flight.pop_front()
            {
                learner.wait_for(oldest)?;
            }
            let wanted = pass.wanted.len() as u32;
            self.in_flight.push_back(learner.play(label, &ops, pass.columns(), wanted));
            if pieces.is_empty() {
                self.losses = Some(learner.read_results(wanted));
            }
            return Ok(None);
        }
        if let Some(losses) = self.losses.take() {
            let losses = learner.read(&losses)?;
            self.add(&losses)?;
        }
        self.passes.pop_front();
        self.pieces = None;
        Ok(None)
    }

    fn add(&mut self, losses: &[f32]) -> Result<(), TrainError> {
        let targets = self.passes.front().map_or(&[][..], |pass| &pass.targets);
        for (loss, &(sequence, weight)) in losses.iter().zip(targets) {
            let loss = f64::from(*loss);
            if !loss.is_finite() {
                return Err(TrainError::Loss { sequence, loss });
            }
            self.sum.sum += loss * f64::from(weight);
        }
        Ok(())
    }
}

fn pieces_of(learner: &Learner, learns: bool, grain: Grain) -> VecDeque<(&'static str, Vec<Op>)> {
    let size = if grain == Grain::Layer { usize::MAX } else { 1 };
    let pieces = learner.program.pieces(learns).into_iter();
    pieces
        .flat_map(|(label, ops)| ops.chunks(size).map(move |part| (label, part.to_vec())))
        .collect()
}
