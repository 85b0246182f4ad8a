//! The page texture: every tile's lines, one under the other, in as many layers as they need.

use bevy::render::{
    render_resource::{
        Buffer, BufferInitDescriptor, BufferUsages, CommandEncoder, Extent3d, Origin3d, PollType,
        Texture, TextureAspect, TextureDescriptor, TextureDimension, TextureFormat, TextureUsages,
        TextureView, TextureViewDescriptor, TextureViewDimension,
    },
    renderer::{RenderDevice, RenderQueue},
};

use crate::model::planes::{LINE_TEXELS, TEXEL_BYTES, TILE_SIZE};
use crate::model::{ModelError, PixelModel, planes};

/// Texels of a line.
const WIDTH: u32 = LINE_TEXELS as u32;
/// The tallest layer: some drivers are slow beyond, and a line's number has to fit in half a word.
const MOST_HEIGHT: u32 = 8192;
const LINE_BYTES: usize = planes::LINE_BYTES as usize;
/// Bytes handed to the queue before it is flushed: what the copies on their way take of the host's
/// memory.
const FLUSH_BYTES: usize = 16 << 20;

/// Why a model's tiles cannot be put on the GPU.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PagesError {
    /// A tile is damaged or cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// More lines than the device's largest texture has.
    #[error("the model has {lines} lines of tiles; textures of this device hold {most}")]
    TooLarge {
        /// Lines of all tiles.
        lines: u64,
        /// Lines of the device's largest texture.
        most: u64,
    },
    /// The device has no room for it.
    #[error("the device has no room for a texture of {size} bytes: {source}")]
    NoRoom {
        /// Bytes of the texture.
        size: u64,
        /// What the graphics library said.
        source: wgpu::Error,
    },
    /// The device was lost.
    #[error("waiting for the GPU: {0}")]
    Wait(#[from] wgpu::PollError),
}

/// Height and layers of a page texture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Lines of a layer.
    pub height: u32,
    /// Layers of the array texture.
    pub layers: u32,
}

impl Shape {
    /// The smallest shape that holds `lines` lines of tiles of which none is cut by the end of a
    /// layer.
    ///
    /// # Errors
    /// The texture would be over the limits.
    pub fn new(lines: u64, max_height: u32, max_layers: u32) -> Result<Self, PagesError> {
        // What a layer may leave empty at its end because the next tile does not fit.
        let lost = TILE_SIZE - 1;
        let usable = u64::from(max_height).saturating_sub(lost).max(1);
        let layers = if lines <= u64::from(max_height) { 1 } else { lines.div_ceil(usable) };
        let most = usable * u64::from(max_layers);
        let height = lines.div_ceil(layers) + if layers > 1 { lost } else { 0 };
        match (u32::try_from(height.max(1)), u32::try_from(layers)) {
            (Ok(height), Ok(layers)) if layers <= max_layers && height <= max_height => {
                Ok(Self { height, layers })
            }
            _ => Err(PagesError::TooLarge { lines, most }),
        }
    }

    /// The tallest texture on a device of these limits.
    pub(crate) fn most_height(limits: &wgpu::Limits) -> u32 {
        limits.max_texture_dimension_2d.min(MOST_HEIGHT)
    }

    /// Bytes of a texture of this shape.
    pub fn size_in_bytes(self) -> u64 {
        u64::from(self.height) * u64::from(self.layers) * LINE_BYTES as u64
    }

    /// A line, counted over the layers, as shaders have it: the layer in the upper half of a word,
    /// the line there in the lower.
    pub(crate) fn word(self, line: u32) -> u32 {
        ((line / self.height) << 16) | (line % self.height)
    }

    /// Where each tile begins, by its count of lines.
    pub(crate) fn place(self, lines: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut next = 0;
        lines
            .map(|lines| {
                if next % self.height + lines > self.height {
                    next = next.next_multiple_of(self.height);
                }
                let first = next;
                next += lines;
                first
            })
            .collect()
    }
}

/// A model's tiles on the GPU.
#[derive(Debug, Clone)]
pub struct Pages {
    /// The texels, which kernels read as a storage texture and the map draws.
    pub texture: Texture,
    /// All layers of it.
    pub view: TextureView,
    /// Where each tile begins, as a storage buffer: the layer in the upper half of a word, the line
    /// in the lower.
    pub tile_place: Buffer,
    /// Height and layers of the texture.
    pub shape: Shape,
    first_lines: Vec<u32>,
}

impl Pages {
    /// Copies every tile of a model.
    ///
    /// # Errors
    /// A tile is damaged, or the device's textures are too small.
    pub fn upload(
        device: &RenderDevice,
        queue: &RenderQueue,
        model: &PixelModel,
    ) -> Result<Self, PagesError> {
        let limits = device.limits();
        let sizes =
            (0..model.tile_count()).map(|tile| (model.tile_range(tile).len() / LINE_BYTES) as u32);
        let lines = sizes.clone().map(u64::from).sum();
        let shape =
            Shape::new(lines, Shape::most_height(&limits), limits.max_texture_array_layers)?;
        let first_lines = shape.place(sizes);
        let places: Vec<u32> = first_lines.iter().map(|&line| shape.word(line)).collect();
        let tile_place = device.create_buffer_with_data(&BufferInitDescriptor {
            label: Some("tiles:tile_place"),
            contents: bytemuck::cast_slice(&places),
            usage: BufferUsages::STORAGE,
        });
        let pages = Self { first_lines, ..Self::empty(device, shape, tile_place)? };
        pages.write_tiles(device, queue, model, (0..).zip(pages.first_lines.iter().copied()))?;
        Ok(pages)
    }

    /// A texture without tiles, whose places are told by the caller's buffer.
    ///
    /// # Errors
    /// The device has no room for it.
    pub(crate) fn empty(
        device: &RenderDevice,
        shape: Shape,
        tile_place: Buffer,
    ) -> Result<Self, PagesError> {
        // Otherwise what does not fit would end the program.
        let scope = device.wgpu_device().push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let texture = device.create_texture(&TextureDescriptor {
            label: Some("tiles:pages"),
            size: Extent3d {
                width: WIDTH,
                height: shape.height,
                depth_or_array_layers: shape.layers,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: TextureDimension::D2,
            format: TextureFormat::Rgba32Uint,
            usage: TextureUsages::TEXTURE_BINDING
                | TextureUsages::STORAGE_BINDING
                | TextureUsages::COPY_DST
                | TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        // By default a texture of one layer gives a view of no array, which kernels do not bind.
        let view = texture.create_view(&TextureViewDescriptor {
            dimension: Some(TextureViewDimension::D2Array),
            ..TextureViewDescriptor::default()
        });
        // Outside of a browser the answer is there at once.
        if let Some(source) = bevy::tasks::block_on(scope.pop()) {
            return Err(PagesError::NoRoom { size: shape.size_in_bytes(), source });
        }
        Ok(Self { texture, view, tile_place, shape, first_lines: Vec::new() })
    }

    /// Writes tiles, each from a line on, and waits for the copies.
    ///
    /// # Errors
    /// One of them is damaged.
    pub(crate) fn write_tiles(
        &self,
        device: &RenderDevice,
        queue: &RenderQueue,
        model: &PixelModel,
        tiles: impl Iterator<Item = (u32, u32)>,
    ) -> Result<(), PagesError> {
        let mut waiting = 0;
        for (tile, line) in tiles {
            let bytes = model.tile_to_compute(tile, false)?;
            self.write_lines(queue, line, bytes);
            waiting += bytes.len();
            // The device has it now.
            model.release(tile..tile + 1);
            if waiting >= FLUSH_BYTES {
                flush(device, queue)?;
                waiting = 0;
            }
        }
        flush(device, queue)
    }

    /// Records copies of lines that lie one after another in a buffer, to runs of lines here: the
    /// first of each, and how many.
    pub(crate) fn copy_lines(
        &self,
        encoder: &mut CommandEncoder,
        from: &Buffer,
        runs: &[[u32; 2]],
    ) {
        let mut offset = 0;
        for &[first, lines] in runs {
            encoder.copy_buffer_to_texture(
                wgpu::TexelCopyBufferInfo {
                    buffer: from,
                    layout: wgpu::TexelCopyBufferLayout {
                        offset,
                        bytes_per_row: Some(LINE_BYTES as u32),
                        rows_per_image: Some(lines),
                    },
                },
                self.place_of([0, first]),
                Extent3d { width: WIDTH, height: lines, depth_or_array_layers: 1 },
            );
            offset += u64::from(lines) * LINE_BYTES as u64;
        }
    }

    fn place_of(&self, [x, line]: [u32; 2]) -> wgpu::TexelCopyTextureInfo<'_> {
        wgpu::TexelCopyTextureInfo {
            texture: &self.texture,
            mip_level: 0,
            origin: Origin3d { x, y: line % self.shape.height, z: line / self.shape.height },
            aspect: TextureAspect::All,
        }
    }

    /// The first line of a tile, counted over the layers.
    pub fn first_line(&self, tile: u32) -> u32 {
        self.first_lines[tile as usize]
    }

    /// Writes whole lines of one layer.
    pub(crate) fn write_lines(&self, queue: &RenderQueue, first: u32, bytes: &[u8]) {
        let height = (bytes.len() / LINE_BYTES) as u32;
        self.write(queue, [0, first], [WIDTH, height], bytes);
    }

    /// Writes one texel: `x` of a line.
    pub fn write_texel(&self, queue: &RenderQueue, x: u32, line: u32, texel: [u32; 4]) {
        self.write(queue, [x, line], [1, 1], bytemuck::cast_slice(&texel));
    }

    /// Bytes of the texture.
    pub fn size_in_bytes(&self) -> u64 {
        self.shape.size_in_bytes()
    }

    fn write(&self, queue: &RenderQueue, at: [u32; 2], [width, height]: [u32; 2], bytes: &[u8]) {
        // Rows may be as short as a texel: only copies from buffers ask for 256 bytes.
        queue.write_texture(
            self.place_of(at),
            bytes,
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(width * TEXEL_BYTES as u32),
                rows_per_image: Some(height),
            },
            Extent3d { width, height, depth_or_array_layers: 1 },
        );
    }
}

fn flush(device: &RenderDevice, queue: &RenderQueue) -> Result<(), PagesError> {
    // An empty submission hands over the writes that wait; after it their copies in the host's
    // memory are free.
    queue.submit([]);
    device.poll(PollType::wait_indefinitely())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tile_is_cut_and_little_is_lost() {
        for tiles in [1u32, 100, 129, 1000, 5000] {
            let sizes: Vec<u32> = (0..tiles).map(|tile| 40 + tile * 7 % 25).collect();
            let lines: u32 = sizes.iter().sum();
            let shape = Shape::new(u64::from(lines), 8192, 256).unwrap();
            let places = shape.place(sizes.iter().copied());
            for (first, lines) in places.iter().zip(&sizes) {
                assert!(first % shape.height + lines <= shape.height);
                assert!(first + lines <= shape.height * shape.layers);
            }
            let bytes = f64::from(shape.height * shape.layers);
            assert!(bytes <= f64::from(lines) * 1.02, "{tiles}: {shape:?} for {lines}");
        }
    }

    #[test]
    fn a_model_beyond_the_device_is_refused_with_both_sizes() {
        let error = Shape::new(1 << 30, 8192, 256).unwrap_err();
        assert!(error.to_string().contains("1073741824"), "{error}");
    }
}
