//! How long frames take, how fast tokens come and whether memory grows: for the timing panel, and
//! for a file that a tour leaves with `--frame-times`.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Instant;

use bevy::prelude::*;

use super::camera::MapCamera;
use super::learning::{Lesson, LessonStage};
use super::memory_samples::MemorySamples;
use super::think::Generation;
use crate::pxi::AtomicFile;

/// Frames that are remembered for the panel.
const RECENT: usize = 240;
/// Seconds over which the speed of tokens is told.
const SPEED_WINDOW: f32 = 3.0;

/// What a frame was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FramePhase {
    /// Nothing moved and nothing was thought.
    Resting,
    /// The camera was on its way.
    Flying,
    /// A prompt ran, and its tokens came.
    Thinking,
    /// The model learnt, and nobody waited for an answer.
    Learning,
}

/// Milliseconds of some frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct FrameSpread {
    /// How many frames there were.
    pub frames: usize,
    /// Half of them took less.
    pub median_ms: f32,
    /// One in twenty took longer.
    pub p95_ms: f32,
    /// The longest of them.
    pub most_ms: f32,
}

impl FrameSpread {
    /// Of some times in milliseconds.
    pub fn of(times: impl Iterator<Item = f32>) -> Self {
        let mut times: Vec<f32> = times.collect();
        times.sort_by(f32::total_cmp);
        let Some(&most_ms) = times.last() else { return Self::default() };
        let at = |part: f32| times[((times.len() as f32 * part) as usize).min(times.len() - 1)];
        Self { frames: times.len(), median_ms: at(0.5), p95_ms: at(0.95), most_ms }
    }
}

/// Times of frames and tokens, of the last seconds and of a whole tour.
#[derive(Resource, Debug, Default)]
pub struct Frames {
    recent: VecDeque<f32>,
    tokens: VecDeque<(Instant, u64, usize)>,
    last: Option<Instant>,
    /// Where all of them are written in the end.
    pub file: Option<PathBuf>,
    all: Vec<(FramePhase, f32)>,
    decoded: usize,
    decoding_ms: f32,
    soak: MemorySamples,
}

impl Frames {
    /// The frames of the last seconds.
    pub fn recent(&self) -> FrameSpread {
        FrameSpread::of(self.recent.iter().copied())
    }

    /// Their times in milliseconds, the oldest first.
    pub fn times(&self) -> impl Iterator<Item = f32> + '_ {
        self.recent.iter().copied()
    }

    /// Tokens a second of the answer that comes now.
    pub fn tokens_per_second(&self) -> Option<f32> {
        let (&(first, generation, before), &(last, latest, after)) =
            (self.tokens.front()?, self.tokens.back()?);
        let seconds = (last - first).as_secs_f32();
        // Over a shorter time the speed would jump with each token.
        (generation == latest && after > before && seconds > 0.2)
            .then(|| (after - before) as f32 / seconds)
    }

    fn record(&mut self, now: Instant, phase: FramePhase, mind: &Generation) {
        let milliseconds = self.last.replace(now).map(|last| (now - last).as_secs_f32() * 1e3);
        let Some(milliseconds) = milliseconds else { return };
        self.recent.push_back(milliseconds);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        let made = mind.thoughts.len().saturating_sub(mind.prompt_len);
        if mind.is_busy() && made > 0 {
            let before =
                self.tokens.back().filter(|last| last.1 == mind.generation()).map(|last| last.2);
            if let (Some(before), true) = (before, self.file.is_some()) {
                // It cannot wrap: within a generation tokens are only added.
                self.decoded += made - before;
                self.decoding_ms += milliseconds;
            }
            self.tokens.push_back((now, mind.generation(), made));
        }
        let is_old = |&(at, generation, _): &(Instant, u64, usize)| {
            generation != mind.generation() || (now - at).as_secs_f32() > SPEED_WINDOW
        };
        while self.tokens.front().is_some_and(is_old) {
            self.tokens.pop_front();
        }
        if self.file.is_some() {
            self.all.push((phase, milliseconds));
            self.soak.sample(now);
        }
    }

    /// What was measured, by phase, and what memory came to, as JSON.
    pub fn summary(&self) -> serde_json::Value {
        let of = |wanted: FramePhase| {
            FrameSpread::of(
                self.all.iter().filter(|(phase, _)| *phase == wanted).map(|(_, time)| *time),
            )
        };
        let speed = (self.decoding_ms > 0.0).then(|| self.decoded as f32 / self.decoding_ms * 1e3);
        serde_json::json!({
            "flying": of(FramePhase::Flying),
            "thinking": of(FramePhase::Thinking),
            "learning": of(FramePhase::Learning),
            "resting": of(FramePhase::Resting),
            "tokens": self.decoded,
            "tokens_per_second": speed,
            "memory": self.soak.summary(),
            "memory_mib_at_minutes": self.soak.samples().collect::<Vec<_>>(),
        })
    }
}

pub(super) fn record(
    camera: Res<MapCamera>,
    (mind, lesson): (Res<Generation>, Res<Lesson>),
    mut frames: ResMut<Frames>,
) {
    // A frame with both counts as thinking, which takes longer: 84 ms in the place of 40.
    let phase = if mind.is_busy() && !mind.paused {
        FramePhase::Thinking
    } else if lesson.stage == LessonStage::Learning {
        FramePhase::Learning
    } else if camera.flight.is_some() {
        FramePhase::Flying
    } else {
        FramePhase::Resting
    };
    frames.record(Instant::now(), phase, &mind);
}

/// Writes what was measured when the program ends.
pub(super) fn write(mut exits: MessageReader<AppExit>, frames: Res<Frames>) {
    let Some(path) = frames.file.as_ref().filter(|_| exits.read().next().is_some()) else { return };
    if let Err(error) = AtomicFile::replace(path, format!("{:#}\n", frames.summary()).as_bytes()) {
        error!("{}: the frame times cannot be written: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_all_its_times() {
        let spread = FrameSpread::of((1..=100).rev().map(|time| time as f32));
        assert_eq!(
            spread,
            FrameSpread { frames: 100, median_ms: 51.0, p95_ms: 96.0, most_ms: 100.0 }
        );
        assert_eq!(FrameSpread::of(std::iter::empty()), FrameSpread::default());
    }
}
