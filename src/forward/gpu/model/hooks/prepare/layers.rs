//! Watching every layer at the price of one pause per layer: what a layer's kernels leave in the
//! activations stays there until the next layer.

use super::{Builder, Numbers, Place, Quads};
use crate::forward::HookPoint;
use crate::forward::gpu::model::hooks::{Effect, Hook, HookError, Placed, StepHooks, Watched};

impl Builder<'_> {
    /// Copies of what [`watch_layers`](crate::forward::gpu::model::watch_layers) names.
    pub fn build_layers(self) -> Result<StepHooks, HookError> {
        let layers = self.network.config.layer_count;
        let (mut placed, mut watched, mut size) = (Vec::new(), Vec::new(), 0);
        let embedding = self.copies_of(&[HookPoint::Embedding], &mut watched, &mut size)?;
        placed.push(Placed { after: ("embed", 0), effect: Effect::CopyQuads(embedding) });
        for layer in 0..layers {
            let points = [
                HookPoint::Residual(layer),
                HookPoint::HeadOutput(layer),
                HookPoint::Query(layer),
                HookPoint::Hidden(layer),
                HookPoint::Key(layer),
            ];
            let copies = self.copies_of(&points, &mut watched, &mut size)?;
            placed.push(Placed { after: ("down", layer), effect: Effect::CopyQuads(copies) });
        }
        let most = self.device.limits().max_buffer_size;
        if size > most {
            return Err(HookError::TooMuch { size, most });
        }
        Ok(StepHooks::new(placed, watched, self.staging(size)))
    }

    /// Copies of all columns at some places to the end of what is watched, `size` bytes so far.
    fn copies_of(
        &self,
        points: &[HookPoint],
        watched: &mut Vec<Watched>,
        size: &mut u64,
    ) -> Result<Vec<(Quads, [u64; 3])>, HookError> {
        let mut copies: Vec<(Quads, [u64; 3])> = Vec::new();
        for &point in points {
            let Place { numbers: Numbers::Quads(quads), first, .. } = self.place(point)? else {
                return Err(HookError::NotOnGpu { point });
            };
            let hook = Hook::watch(point, 0..self.columns.len() as u32);
            let columns = self.columns_of(&hook)?;
            let features = point.features(&self.network.config);
            let count = u64::from(features / 4);
            let own = copies.len();
            for row in self.rows(&hook, &columns, first)? {
                let start = u64::from(row / 4);
                match copies[own..].last_mut() {
                    Some((_, [from, length, _])) if *from + *length == start => *length += count,
                    _ => copies.push((quads.clone(), [start, count, *size])),
                }
                *size += count * 16;
            }
            watched.push(Watched {
                point,
                columns,
                features: features as usize,
                values: Vec::new(),
            });
        }
        Ok(copies)
    }
}
