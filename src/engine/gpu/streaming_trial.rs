//! A timed trial of how a model that does not fit its adapter is streamed, and its outcome, which
//! is kept.
//!
//! In: a model, an adapter and a cap. Out: a [`StreamingVerdict`]: how many slots take turns and
//! how many units are read ahead, and what a token takes so and as usual. It is kept in
//! `residency.ron` in the cache folder, by adapter, driver, program version, model and cap.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::GpuEngine;
use super::headless::{AdapterFacts, GpuChoice};
use super::trial::{
    CONTEXT, TrialError, adapter_key, logits, read_verdicts, settle, timed_run, write_verdicts,
};
use crate::engine::EngineError;
use crate::model::{PixelModel, hex};
use crate::residency::compute::StreamTuning;

/// Where verdicts are kept, in the cache folder.
pub(crate) const FILE: &str = "residency.ron";
/// Pairs of runs by which a way to stream is held against another.
const PAIRS: usize = 6;
/// Other slots in turn, and other units ahead, than the usual ones.
const RINGS: [u8; 2] = [1, 3];
const AHEAD: [u8; 2] = [2, 6];
/// A verdict is taken for caps that differ by less than one part in so many: what is free on a host
/// is never twice the same.
const NEAR: u64 = 8;

/// What a trial has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamingVerdict {
    /// Adapter, driver and the version of this program.
    pub adapter: String,
    /// The root hash of the model.
    pub model: String,
    /// Bytes that its weights may take.
    pub cap: u64,
    /// The fastest way, or the usual one where none is faster by more than the error.
    pub tuning: StreamTuning,
    /// Milliseconds for a token so.
    pub milliseconds: f64,
    /// Milliseconds for a token as usual, in turns with the other.
    pub usual_milliseconds: f64,
    /// The standard error of the difference, over pairs.
    pub error: f64,
}

impl StreamingVerdict {
    /// What a person is told of it, in one line.
    pub fn line(&self) -> String {
        let Self { tuning, milliseconds, usual_milliseconds, error, .. } = self;
        if *tuning == StreamTuning::default() {
            return format!("streamed as usual ({}): nothing was faster", tuning.words());
        }
        format!(
            "streamed with {}: a token takes {milliseconds:.1} ms, as usual \
             {usual_milliseconds:.1} (the difference has an error of {error:.1})",
            tuning.words()
        )
    }
}

/// The verdict that is kept for an adapter, a model and about this cap.
pub(crate) fn recall(
    folder: &Path,
    adapter: &AdapterFacts,
    model: &PixelModel,
    cap: u64,
) -> Option<StreamingVerdict> {
    let (adapter, model) = (adapter_key(adapter), hex(&model.header().root));
    let near = |known: &StreamingVerdict| known.cap.abs_diff(cap);
    verdicts(folder)
        .into_iter()
        .filter(|known| known.adapter == adapter && known.model == model)
        .filter(|known| known.tuning.is_sound() && near(known) < cap / NEAR)
        .min_by_key(near)
}

/// Keeps a verdict in the place of an earlier one.
///
/// # Errors
/// The file cannot be written.
pub fn keep(folder: &Path, verdict: &StreamingVerdict) -> std::io::Result<()> {
    let mut all = verdicts(folder);
    let same = |known: &StreamingVerdict| {
        (&known.adapter, &known.model, known.cap) == (&verdict.adapter, &verdict.model, verdict.cap)
    };
    all.retain(|known| !same(known));
    all.push(verdict.clone());
    write_verdicts(folder, FILE, &all)
}

fn verdicts(folder: &Path) -> Vec<StreamingVerdict> {
    read_verdicts(folder, FILE)
}

/// Makes the trial of a model that does not fit the memory of `choice`, or `None` where all of it
/// fits. `begins` hears what is tried and says whether to go on.
///
/// First other slots in turn are held against the usual ones, then other units ahead against what
/// was fastest, and last that against the usual once more: of several that are alike the one with
/// luck would win.
///
/// # Errors
/// The model cannot be run on the adapter, or it was told to stop.
pub fn make(
    model: &Arc<PixelModel>,
    choice: &GpuChoice,
    begins: &dyn Fn(&str) -> bool,
) -> Result<Option<StreamingVerdict>, TrialError> {
    let open = |tuning: StreamTuning| -> Result<GpuEngine, TrialError> {
        if !begins(&tuning.words()) {
            return Err(TrialError::Stopped);
        }
        let choice = GpuChoice { tuning, ..choice.clone() };
        let mut engine = GpuEngine::new(Arc::clone(model), 1, CONTEXT, &choice)?;
        settle(&mut engine)?;
        Ok(engine)
    };
    let usual = StreamTuning::default();
    let mut engine = open(usual)?;
    let Some(cap) = choice.memory.filter(|_| engine.pool().is_some()) else { return Ok(None) };
    let expected = logits(&mut engine)?;
    let mut best = usual;
    let mut try_other = |best: &mut StreamTuning, tuning| -> Result<(), TrialError> {
        let mut other = open(tuning)?;
        // To the bit: how it is streamed is none of an answer's business.
        if logits(&mut other)? == expected
            && let (_, difference, error) = race(&mut engine, &mut other)?
            && difference > error
        {
            (*best, engine) = (tuning, other);
        }
        Ok(())
    };
    for ring in RINGS {
        try_other(&mut best, StreamTuning { ring, ..usual })?;
    }
    let ring = best.ring;
    for buffers in AHEAD {
        try_other(&mut best, StreamTuning { ring, buffers })?;
    }
    let adapter = adapter_key(engine.adapter());
    let (mut milliseconds, mut difference, error) = if best == usual {
        (timed_run(&mut engine)?, 0.0, 0.0)
    } else {
        race(&mut open(usual)?, &mut engine)?
    };
    if difference <= error {
        (best, milliseconds, difference) = (usual, milliseconds + difference, 0.0);
    }
    Ok(Some(StreamingVerdict {
        adapter,
        model: hex(&model.header().root),
        cap,
        tuning: best,
        milliseconds,
        usual_milliseconds: milliseconds + difference,
        error,
    }))
}

/// Two engines in turns: milliseconds for a token of the second, by how many it is faster than the
/// first, and that number's standard error over pairs.
fn race(first: &mut GpuEngine, second: &mut GpuEngine) -> Result<(f64, f64, f64), EngineError> {
    // Where barriers fail in the midst of it, one would compute otherwise than the other.
    let fused = first.plan().fused_layers && second.plan().fused_layers;
    for engine in [&mut *first, &mut *second] {
        engine.set_fused_layers(fused);
    }
    // What is read for the first time is checked too.
    timed_run(first)?;
    timed_run(second)?;
    let mut pairs = Vec::with_capacity(PAIRS);
    for pair in 0..PAIRS {
        // Whoever comes second finds the other's pages in the cache.
        pairs.push(if pair % 2 == 0 {
            let time = timed_run(first)?;
            [time, timed_run(second)?]
        } else {
            let time = timed_run(second)?;
            [timed_run(first)?, time]
        });
    }
    let count = pairs.len() as f64;
    let mean = |of: fn(&[f64; 2]) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let (time, difference) = (mean(|pair| pair[1]), mean(|pair| pair[0] - pair[1]));
    let squares: f64 = pairs.iter().map(|[a, b]| (a - b - difference).powi(2)).sum();
    Ok((time, difference, (squares / (count - 1.0) / count).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(cap: u64, ring: u8) -> StreamingVerdict {
        let tuning = StreamTuning { ring, ..StreamTuning::default() };
        StreamingVerdict {
            adapter: "a".into(),
            model: "m".into(),
            cap,
            tuning,
            milliseconds: 1.0,
            usual_milliseconds: 2.0,
            error: 0.1,
        }
    }

    #[test]
    fn a_verdict_takes_the_place_of_an_earlier_one_of_the_same_cap() {
        let folder = tempfile::tempdir().unwrap();
        for (cap, ring) in [(100, 1), (200, 3), (100, 3)] {
            keep(folder.path(), &verdict(cap, ring)).unwrap();
        }
        assert_eq!(verdicts(folder.path()), [verdict(200, 3), verdict(100, 3)]);
        std::fs::write(folder.path().join(FILE), "[(").unwrap();
        assert_eq!(verdicts(folder.path()), [], "half a file is none");
    }
}
