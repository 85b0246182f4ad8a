//! Numbers on the device that kernels write and read in quads: in a texture, which a software
//! adapter reads for all lanes at once, or in a buffer.

use bevy::render::{
    render_resource::{
        BindingResource, Buffer, BufferDescriptor, BufferUsages, CommandEncoder,
        CommandEncoderDescriptor, Extent3d, Texture, TextureDescriptor, TextureDimension,
        TextureFormat, TextureUsages, TextureView,
    },
    renderer::{RenderDevice, RenderQueue},
};
use wgpu::{
    Origin3d, TexelCopyBufferInfo, TexelCopyBufferLayout, TexelCopyTextureInfo, TextureAspect,
};

use crate::forward::gpu::readback::{ReadbackError, read_buffer};

const QUAD_BYTES: u64 = 16;

/// Rows of quads. Bytes are counted as if the rows lay one behind the other, whatever holds them.
#[derive(Debug, Clone)]
pub struct Quads {
    holder: Holder,
    row_bytes: u64,
    rows: u32,
}

#[derive(Debug, Clone)]
enum Holder {
    Buffer(Buffer),
    Texture(Texture, TextureView),
}

impl Quads {
    /// `rows` rows of `quads` quads, all zero. In a texture a row has a multiple of 16 quads.
    pub(crate) fn new(
        device: &RenderDevice,
        label: &'static str,
        quads: u32,
        rows: u32,
        in_texture: bool,
    ) -> Self {
        let row_bytes = u64::from(quads) * QUAD_BYTES;
        let holder = if in_texture {
            let texture = device.create_texture(&TextureDescriptor {
                label: Some(label),
                size: Extent3d { width: quads, height: rows, depth_or_array_layers: 1 },
                mip_level_count: 1,
                sample_count: 1,
                dimension: TextureDimension::D2,
                format: TextureFormat::Rgba32Float,
                usage: TextureUsages::STORAGE_BINDING
                    | TextureUsages::COPY_DST
                    | TextureUsages::COPY_SRC,
                view_formats: &[],
            });
            let view = texture.create_view(&Default::default());
            Holder::Texture(texture, view)
        } else {
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
            Holder::Buffer(buffer(device, label, row_bytes * u64::from(rows), usage))
        };
        Self { holder, row_bytes, rows }
    }

    /// Bytes of all rows.
    pub fn size(&self) -> u64 {
        self.row_bytes * u64::from(self.rows)
    }

    /// What a kernel binds.
    pub(crate) fn binding(&self) -> BindingResource<'_> {
        match &self.holder {
            Holder::Buffer(buffer) => buffer.as_entire_binding(),
            Holder::Texture(_, view) => BindingResource::TextureView(view),
        }
    }

    /// A buffer that holds the numbers: their own, or, with true, one that they have to be copied
    /// to first and, if changed, back from.
    pub(super) fn as_buffer(&self, device: &RenderDevice) -> (Buffer, bool) {
        match &self.holder {
            Holder::Buffer(buffer) => (buffer.clone(), false),
            Holder::Texture(..) => {
                let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
                (buffer(device, "forward:quads", self.size(), usage), true)
            }
        }
    }

    /// Records a copy of `rows` rows from `first` on to the beginning of a buffer.
    pub(crate) fn copy_to(&self, encoder: &mut CommandEncoder, first: u32, rows: u32, to: &Buffer) {
        match &self.holder {
            Holder::Buffer(buffer) => {
                let [first, size] = [first, rows].map(|rows| u64::from(rows) * self.row_bytes);
                encoder.copy_buffer_to_buffer(buffer, first, to, 0, size);
            }
            Holder::Texture(texture, _) => {
                let (texture, buffer, size) = self.sides(texture, first, rows, to);
                encoder.copy_texture_to_buffer(texture, buffer, size);
            }
        }
    }

    /// Records a copy of the beginning of a buffer to `rows` rows from `first` on.
    pub(crate) fn copy_from(
        &self,
        encoder: &mut CommandEncoder,
        first: u32,
        rows: u32,
        from: &Buffer,
    ) {
        match &self.holder {
            Holder::Buffer(buffer) => {
                let [first, size] = [first, rows].map(|rows| u64::from(rows) * self.row_bytes);
                encoder.copy_buffer_to_buffer(from, 0, buffer, first, size);
            }
            Holder::Texture(texture, _) => {
                let (texture, buffer, size) = self.sides(texture, first, rows, from);
                encoder.copy_buffer_to_texture(buffer, texture, size);
            }
        }
    }

    /// Records a copy of all rows to a buffer, or from it.
    pub(super) fn copy_all(&self, encoder: &mut CommandEncoder, buffer: &Buffer, back: bool) {
        if back {
            self.copy_from(encoder, 0, self.rows, buffer);
        } else {
            self.copy_to(encoder, 0, self.rows, buffer);
        }
    }

    /// Records a copy of `count` quads from `first` on, counted through all rows, to a place in a
    /// buffer that is a multiple of 16 bytes.
    pub(super) fn copy_some(
        &self,
        encoder: &mut CommandEncoder,
        first: u64,
        count: u64,
        to: &Buffer,
        place: u64,
    ) {
        let texture = match &self.holder {
            Holder::Buffer(buffer) => {
                let [from, size] = [first, count].map(|quads| quads * QUAD_BYTES);
                encoder.copy_buffer_to_buffer(buffer, from, to, place, size);
                return;
            }
            Holder::Texture(texture, _) => texture,
        };
        let row = self.row_bytes / QUAD_BYTES;
        let mut copied = 0;
        // One row at a time: parts of rows lie side by side only in the buffer.
        while copied < count {
            let (y, x) = ((first + copied) / row, (first + copied) % row);
            let across = (count - copied).min(row - x);
            let narrow =
                |quads: u64| u32::try_from(quads).expect("sides of a texture are far below 2^32");
            let layout = TexelCopyBufferLayout {
                offset: place + copied * QUAD_BYTES,
                // A single row needs no stride, which would have to be a multiple of 256 bytes.
                bytes_per_row: None,
                rows_per_image: None,
            };
            encoder.copy_texture_to_buffer(
                TexelCopyTextureInfo {
                    texture,
                    mip_level: 0,
                    origin: Origin3d { x: narrow(x), y: narrow(y), z: 0 },
                    aspect: TextureAspect::All,
                },
                TexelCopyBufferInfo { buffer: to, layout },
                Extent3d { width: narrow(across), height: 1, depth_or_array_layers: 1 },
            );
            copied += across;
        }
    }

    fn sides<'a>(
        &self,
        texture: &'a Texture,
        first: u32,
        rows: u32,
        buffer: &'a Buffer,
    ) -> (TexelCopyTextureInfo<'a>, TexelCopyBufferInfo<'a>, Extent3d) {
        // A copy asks for rows of a multiple of 256 bytes: 16 quads, as `new` has it.
        let row_bytes =
            u32::try_from(self.row_bytes).expect("a row of a texture is far below 4 GiB");
        let layout = TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(row_bytes),
            rows_per_image: None,
        };
        let origin = Origin3d { x: 0, y: first, z: 0 };
        (
            TexelCopyTextureInfo { texture, mip_level: 0, origin, aspect: TextureAspect::All },
            TexelCopyBufferInfo { buffer, layout },
            Extent3d { width: texture.width(), height: rows, depth_or_array_layers: 1 },
        )
    }

    /// Waits for the numbers as they are after everything that was submitted.
    ///
    /// # Errors
    /// The device was lost.
    pub fn read(
        &self,
        device: &RenderDevice,
        queue: &RenderQueue,
    ) -> Result<Vec<f32>, ReadbackError> {
        let (buffer, is_copy) = self.as_buffer(device);
        if is_copy {
            let mut encoder = device.create_command_encoder(&CommandEncoderDescriptor::default());
            self.copy_all(&mut encoder, &buffer, false);
            queue.submit([encoder.finish()]);
        }
        Ok(bytemuck::pod_collect_to_vec(&read_buffer(device, queue, &buffer)?))
    }
}

fn buffer(device: &RenderDevice, label: &'static str, size: u64, usage: BufferUsages) -> Buffer {
    device.create_buffer(&BufferDescriptor {
        label: Some(label),
        size,
        usage,
        mapped_at_creation: false,
    })
}
