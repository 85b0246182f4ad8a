//! The GPU engine as the coach's work sees it.

use std::collections::HashMap;
use std::sync::Arc;

use super::device::OpenedDevice;
use super::{StreamingFigures, WorkDevice, WorkDevices};
use crate::engine::gpu::headless::GpuChoice;
use crate::engine::gpu::{GpuEngine, GpuEngineError, KernelConfig};
use crate::engine::open::{OpenError, tune_streaming};
use crate::engine::{Batch, Column, Engine, EngineError};
use crate::forward::Hook;
use crate::forward::HookPoint;
use crate::model::PixelModel;
use crate::residency::compute::weights_in_bytes;

impl WorkDevice for GpuEngine {
    fn name(&self) -> String {
        self.adapter().info.name.clone()
    }

    fn engine(&mut self) -> &mut dyn Engine {
        self
    }

    fn watch(
        &mut self,
        tokens: &[u32],
        points: &[HookPoint],
    ) -> Result<HashMap<HookPoint, Vec<f32>>, EngineError> {
        let columns = (0..)
            .zip(tokens)
            .map(|(position, &token)| Column { token, slot: 0, position })
            .collect();
        let batch = Batch { columns, steps: 1, ..Batch::default() };
        let count = tokens.len() as u32;
        // Of all columns, since a point may be the logits.
        let wanted: Vec<u32> = (0..count).collect();
        let hooks: Vec<Hook> = points.iter().map(|&point| Hook::watch(point, 0..count)).collect();
        let hooked = self.logits_with_hooks(&batch, &wanted, &hooks)?;
        Ok(hooked.watched.into_iter().map(|seen| (seen.point, seen.values)).collect())
    }
}

/// The graphics adapters of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct GpuDevices;

impl WorkDevices for GpuDevices {
    /// With each kernel in dispatches of its own, so that each can be compared and timed.
    fn open(&self, model: &Arc<PixelModel>, context: usize) -> OpenedDevice {
        let mut choice = GpuChoice::default();
        let Ok(adapter) = choice.find() else { return Ok(None) };
        let plan = KernelConfig { fused_layers: false, ..KernelConfig::usual(&adapter) };
        match GpuEngine::with_plan(Arc::clone(model), 1, context, &choice, Some(plan)) {
            Ok(engine) => Ok(Some(Box::new(engine))),
            // Without an adapter that can be used there is nothing to compare or time.
            Err(GpuEngineError::Gpu(_)) => Ok(None),
            Err(error) => Err(EngineError::Other(Box::new(error))),
        }
    }

    fn tune_streaming(
        &self,
        model: &Arc<PixelModel>,
        begins: &dyn Fn(&str) -> bool,
    ) -> Result<Option<StreamingFigures>, EngineError> {
        // Where all of it fits, half of it is what those have who give it no more.
        let half = Some(weights_in_bytes(model) / 2);
        let found = tune_streaming(model, None, begins).and_then(|found| {
            found.map_or_else(|| tune_streaming(model, half, begins), |it| Ok(Some(it)))
        });
        match found {
            Ok(found) => Ok(found.map(|(adapter, verdict)| StreamingFigures {
                line: format!("{adapter}: {}", verdict.line()),
                milliseconds: [verdict.milliseconds, verdict.usual_milliseconds],
                cap: verdict.cap,
                tuning: [verdict.tuning.ring, verdict.tuning.buffers],
            })),
            Err(OpenError::Adapter(_)) => Ok(None),
            Err(error) => Err(EngineError::Other(Box::new(error))),
        }
    }
}
