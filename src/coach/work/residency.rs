//! Work on memory: how a model that does not fit its adapter is streamed, arranged by measurement.

use super::{ModelContext, ProgressListener, TaskReport, WorkResult};

pub(super) fn tune(
    context: &ModelContext,
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    // As usual, where nothing is to be arranged.
    let stays = |summary: &str| TaskReport::new(summary).with("speed_ratio", 1.0);
    let Some(devices) = &context.devices else {
        // A trial beside a window would time the window's frames too.
        return Ok(stays(
            "nothing was measured beside a window: pixel-llm bench MODEL --gpu-memory SIZE --tune",
        ));
    };
    let progress = std::cell::RefCell::new(progress);
    let begins = |what: &str| {
        (progress.borrow_mut())(what.to_owned());
        context.go_on().is_ok()
    };
    let found = devices.tune_streaming(&context.model, &begins)?;
    let Some(found) = found else { return Ok(stays("no adapter was found")) };
    let [time, usual] = found.milliseconds;
    Ok(TaskReport::new(found.line)
        .with("speed_ratio", usual / time.max(1e-9))
        .with("milliseconds", time)
        .with("usual_milliseconds", usual)
        .with("ring", found.tuning[0].into())
        .with("buffers", found.tuning[1].into())
        .with("cap", found.cap as f64))
}
