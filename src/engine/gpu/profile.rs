//! What each kernel takes: all its dispatches of a step by themselves, between two waits. Where the
//! model is streamed, they run on the tiles that are there; what the step takes beyond them is the
//! streaming.

use std::time::{Duration, Instant};

use super::batch_steps::FrameWork;
use super::{GpuEngine, stepper};
use crate::engine::{Batch, Engine, EngineError, EngineProfile, ProfileStage};
use crate::forward::gpu::kernels::readings;
use crate::forward::gpu::model::{SamplingMode, Step};

/// Runs a batch as [`Engine::step`] does, after a look at each of its kernels.
pub(super) fn profile(engine: &mut GpuEngine, batch: &Batch) -> Result<EngineProfile, EngineError> {
    let (columns, wanted) = (batch.columns.len() as u32, batch.asks.len() as u32);
    let passes = batch.steps.max(1);
    let mut stages = Vec::new();
    // What its kernels take to compile is no part of what they take.
    engine.step(batch)?;
    for kernel in engine.network().0.kernels(columns, !batch.shares_sequences()) {
        let time = run_alone(engine, batch, kernel.name)?;
        // These run once per row that is asked for, the others once per column.
        let of_rows = matches!(kernel.name, "logits" | "sample");
        let dispatched = !of_rows || wanted > 0;
        let together = if of_rows { wanted } else { columns };
        stages.push(ProfileStage {
            name: kernel.name,
            dispatches: if dispatched { kernel.dispatches * u64::from(passes) } else { 0 },
            // One pass was timed, and the step has several.
            time: time * passes,
            weight_bytes: kernel.weight_bytes * u64::from(readings(together) * passes),
            multiplications: 0,
        });
    }
    let start = Instant::now();
    engine.step(batch)?;
    Ok(EngineProfile { stages, total: start.elapsed(), passes })
}

/// Runs all dispatches of one kernel of a step, and tells how long that takes.
pub(super) fn run_alone(
    engine: &mut GpuEngine,
    batch: &Batch,
    kernel: &'static str,
) -> Result<Duration, EngineError> {
    let (columns, wanted) = (batch.columns.len() as u32, batch.asks.len() as u32);
    let rows: Vec<u32> = batch.asks.iter().map(|ask| ask.column).collect();
    let tokens = batch.columns.iter().map(|column| column.token).collect();
    stepper::write_columns(engine.render_world(), &batch.columns, &rows);
    engine.wait()?;
    let sample = if wanted > 0 { SamplingMode::Greedy } else { SamplingMode::None };
    let adapted = stepper::is_adapted(engine.network().0, &batch.columns);
    let step = Step {
        columns,
        wanted,
        adapted,
        sample,
        tokens,
        kernel_by_kernel: batch.shares_sequences(),
        only: Some(kernel),
        ..Step::default()
    };
    let start = Instant::now();
    engine.begin(FrameWork::Alone(step))?;
    engine.wait()?;
    Ok(start.elapsed())
}
