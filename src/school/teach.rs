//! A child: an adapter on the frozen model, taught answers with text of the model's own kind.

use std::sync::Arc;

use super::plain::sequence;
use super::{SchoolError, SchoolProblem, SchoolProgress, SchoolSettings};
use crate::model::{Adapter, PixelModel};
use crate::training::cpu::CpuTrainer;
use crate::training::data::{DataPlace, Feed};
use crate::training::optimizer::{AdamW, Decay, Schedule};
use crate::training::plan::plan;
use crate::training::{LoraSettings, Sequence, Trained, Trainer, TrainingSettings};

/// The share of steps in which the rate grows.
const WARMUP: f64 = 0.05;
/// The least rate is the rate over this.
const LEAST_RATE: f32 = 10.0;

/// Teaches a child lines, from nothing. `replay` are pieces of plain text, of which each step has
/// its share; its share of the step's loss is the same.
pub(super) fn teach(
    model: &Arc<PixelModel>,
    (lines, replay): (&[Sequence], &[Vec<u32>]),
    settings: &SchoolSettings,
    progress: &dyn SchoolProgress,
) -> Result<Adapter, SchoolError> {
    let training = training(settings);
    let pieces: Vec<Sequence> = replay.iter().map(|piece| sequence(piece, 1.0)).collect();
    let columns = |of: &[Sequence]| of.iter().map(Sequence::columns).collect::<Vec<_>>();
    let longest = lines.iter().chain(&pieces).map(Sequence::columns).max().unwrap_or(1);
    let room = crate::memory::available_in_bytes().map_or(u64::MAX, |bytes| bytes / 2);
    let memory = plan(model, &training.what, longest, settings.batch_tokens, room)
        .map_err(|error| SchoolProblem::NoRoom(error.to_string()))?;
    let trainer = CpuTrainer::new(Arc::clone(model), &training, None)?;
    let mut trainer = trainer.keeping(memory.kept_layers);
    let of_replay = (settings.batch_tokens as f64 * settings.replay).round() as usize;
    let of_lines = (settings.batch_tokens - of_replay).max(1);
    let mut lines_feed = Feed::new(columns(lines), of_lines, settings.seed);
    let has_replay = of_replay > 0 && !pieces.is_empty();
    let mut replay_feed =
        has_replay.then(|| Feed::new(columns(&pieces), of_replay, settings.seed.wrapping_add(1)));
    let (mut line_place, mut piece_place) = (DataPlace::default(), DataPlace::default());
    for step in 0..settings.steps {
        let mut of_step = take(&mut lines_feed, &mut line_place, lines);
        if let Some(feed) = &mut replay_feed {
            let pieces = take(feed, &mut piece_place, &pieces);
            of_step.extend(weighed(pieces, &of_step, settings.replay));
        }
        trainer.step(&of_step, training.schedule.at(step), &|| !progress.goes_on())?;
        progress.done(1);
    }
    trainer.adapter().ok_or_else(|| unreachable_adapter().into())
}

/// What a trainer of an adapter always has.
fn unreachable_adapter() -> SchoolProblem {
    SchoolProblem::Setting("no adapter was trained".into())
}

fn training(settings: &SchoolSettings) -> TrainingSettings {
    let schedule = Schedule {
        decay: Decay::Cosine,
        rate: settings.rate,
        least: settings.rate / LEAST_RATE,
        warmup: (WARMUP * settings.steps as f64).round() as u64,
        steps: settings.steps,
    };
    let rank = settings.rank;
    let lora = LoraSettings { rank, alpha: 2.0 * rank as f32, ..LoraSettings::default() };
    TrainingSettings {
        what: Trained::Lora(lora),
        optimizer: AdamW::default(),
        schedule,
        seed: settings.seed,
    }
}

fn take(feed: &mut Feed, place: &mut DataPlace, of: &[Sequence]) -> Vec<Sequence> {
    // Without a last epoch there is always a next one.
    let (examples, next) = feed.next(*place, None).unwrap_or_default();
    *place = next;
    examples.into_iter().map(|at| of[at].clone()).collect()
}

/// Pieces whose targets together have their share of the loss beside these lines.
fn weighed(pieces: Vec<Sequence>, lines: &[Sequence], share: f64) -> Vec<Sequence> {
    let targets = |of: &[Sequence]| of.iter().map(Sequence::targets).sum::<usize>() as f64;
    let weight = share / (1.0 - share) * targets(lines) / targets(&pieces).max(1.0);
    let weighed = |piece: Sequence| Sequence { weight: weight as f32, ..piece };
    pieces.into_iter().map(weighed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_has_its_share_of_the_loss() {
        let lines = [Sequence::from_first_target(vec![1, 2, 3, 4], 2)];
        let pieces = vec![Sequence::from_first_target((0..30).collect(), 1)];
        for share in [0.25, 0.75] {
            let weighed = weighed(pieces.clone(), &lines, share);
            let of_pieces = f64::from(weighed[0].weight) * weighed[0].targets() as f64;
            let found = of_pieces / (of_pieces + 2.0);
            assert!((found - share).abs() < 1e-6, "{found} for {share}");
        }
    }
}
