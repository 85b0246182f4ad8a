//! Reading a GPU buffer back and waiting for it: for batch runs and tests, where nothing else is to be done
//! meanwhile. It waits for everything that was submitted before.

use std::sync::mpsc;

use bevy::render::{
    render_resource::{
        Buffer, BufferAsyncError, BufferDescriptor, BufferUsages, CommandEncoderDescriptor, MapMode, PollType,
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
        /// Why.
        source: BufferAsyncError,
    },
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
    let [bytes] = read_starts(device, queue, [(buffer, buffer.size())])?;
    Ok(bytes)
}

/// The first bytes of some buffers, so many of each: a multiple of four.
///
/// # Errors
/// The device was lost.
pub fn read_starts<const N: usize>(
    device: &RenderDevice,
    queue: &RenderQueue,
    parts: [(&Buffer, u64); N],
) -> Result<[Vec<u8>; N], ReadbackError> {
    let size_in_bytes = parts.iter().map(|(_, size)| size).sum();
    let staging = device.create_buffer(&BufferDescriptor {
        label: Some("passes:readback"),
        size: size_in_bytes,
        usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder =
        device.create_command_encoder(&CommandEncoderDescriptor { label: Some("passes:readback") });
    let mut at = 0;
    for (buffer, size) in parts {
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, at, size);
        at += size;
    }
    queue.submit([encoder.finish()]);

    let (sender, receiver) = mpsc::channel();
    let slice = staging.slice(..);
    slice.map_async(MapMode::Read, move |result| {
        // Nobody listens any more if waiting failed, and that error was returned.
        let _ = sender.send(result);
    });
    device.poll(PollType::wait_indefinitely())?;
    receiver
        .recv()
        .expect("the callback has run, since the device has been waited for")
        .map_err(|source| ReadbackError::Map { size_in_bytes, source })?;
    let mapped = slice.get_mapped_range();
    let mut rest: &[u8] = &mapped;
    let bytes = parts.map(|(_, size)| {
        let (part, after) = rest.split_at(size as usize);
        rest = after;
        part.to_vec()
    });
    drop(mapped);
    staging.unmap();
    Ok(bytes)
}
