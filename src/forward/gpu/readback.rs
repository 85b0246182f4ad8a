//! Reading a GPU buffer back. Batch runs and tests wait for it, since nothing else is to be done
//! meanwhile; a window polls a [`PendingReadback`] and goes on. Both see everything that was
//! submitted before.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bevy::render::{
    render_resource::{
        Buffer, BufferAsyncError, BufferDescriptor, BufferUsages, CommandEncoderDescriptor,
        MapMode, PollType,
    },
    renderer::{RenderDevice, RenderQueue},
};

/// What can go wrong when a buffer is read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadbackError {
    /// The device was lost, or did not come to an end.
    #[error("waiting for the GPU: {0}")]
    Wait(#[from] wgpu::PollError),
    /// The copy cannot be made visible to the CPU.
    #[error("mapping {size_in_bytes} bytes that were read back: {source}")]
    Map {
        /// Size of the copy.
        size_in_bytes: u64,
        /// Why, as wgpu says it.
        source: BufferAsyncError,
    },
}

/// The first bytes of some buffers, on their way.
#[derive(Debug)]
pub(crate) struct PendingReadback {
    staging: Buffer,
    sizes: Vec<u64>,
    submission: wgpu::SubmissionIndex,
    answer: Arc<OnceLock<Result<(), BufferAsyncError>>>,
}

impl PendingReadback {
    /// Submits the copy of the first bytes of some buffers, so many of each: a multiple of four.
    pub(crate) fn submit(
        device: &RenderDevice,
        queue: &RenderQueue,
        parts: &[(&Buffer, u64)],
    ) -> Self {
        let sizes: Vec<u64> = parts.iter().map(|&(_, size)| size).collect();
        let (staging, submission) = submit_copies(device, queue, parts);
        let answer = Arc::new(OnceLock::new());
        let told = Arc::clone(&answer);
        staging.slice(..).map_async(MapMode::Read, move |result| {
            told.set(result).expect("a callback is called once");
        });
        Self { staging, sizes, submission, answer }
    }

    /// The bytes of each buffer if they are there within a time, which may be nothing. `None` is as
    /// long as it takes.
    ///
    /// # Errors
    /// The device was lost.
    pub(crate) fn poll(
        &self,
        device: &RenderDevice,
        time: Option<Duration>,
    ) -> Result<Option<Vec<Vec<u8>>>, ReadbackError> {
        let poll = match time {
            Some(Duration::ZERO) => PollType::Poll,
            // For this submission alone: what was submitted after it may take longer.
            timeout => PollType::Wait { submission_index: Some(self.submission.clone()), timeout },
        };
        match device.poll(poll) {
            Ok(_) | Err(wgpu::PollError::Timeout) => {}
            Err(error) => return Err(error.into()),
        }
        let size_in_bytes = self.sizes.iter().sum();
        match self.answer.get() {
            Some(answer) => {
                answer.clone().map_err(|source| ReadbackError::Map { size_in_bytes, source })?
            }
            None => return Ok(None),
        }
        let mapped = self.staging.slice(..).get_mapped_range();
        let mut rest: &[u8] = &mapped;
        let mut parts = Vec::with_capacity(self.sizes.len());
        for &size in &self.sizes {
            let (part, after) = rest.split_at(size as usize);
            parts.push(part.to_vec());
            rest = after;
        }
        Ok(Some(parts))
    }
}

/// Submits copies of the first bytes of some buffers, one after the other, to a buffer that can be
/// mapped.
fn submit_copies(
    device: &RenderDevice,
    queue: &RenderQueue,
    parts: &[(&Buffer, u64)],
) -> (Buffer, wgpu::SubmissionIndex) {
    let staging = device.create_buffer(&BufferDescriptor {
        label: Some("forward:readback"),
        size: parts.iter().map(|(_, size)| size).sum(),
        usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = device
        .create_command_encoder(&CommandEncoderDescriptor { label: Some("forward:readback") });
    let mut at = 0;
    for &(buffer, size) in parts {
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, at, size);
        at += size;
    }
    let submission = queue.submit([encoder.finish()]);
    (staging, submission)
}

/// The bytes of the whole `buffer`, which must have been created with `COPY_SRC`.
///
/// # Errors
/// The device was lost.
pub fn read_buffer(
    device: &RenderDevice,
    queue: &RenderQueue,
    buffer: &Buffer,
) -> Result<Vec<u8>, ReadbackError> {
    let parts = PendingReadback::submit(device, queue, &[(buffer, buffer.size())])
        .poll(device, None)?
        .expect("the callback has run, since the device has been waited for");
    Ok(parts.concat())
}
