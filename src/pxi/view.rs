//! The payload as a picture: an RGB PNG of the header's width and height, the tail of the last row
//! black.

use super::{AtomicFile, MAX_WRITTEN_WIDTH, PIECE_LEN, PxiContents, PxiError, PxiFile, Target};
use std::io::{self, BufWriter, Write};

/// The tallest picture: PNG keeps the upper bit of its sizes clear.
const MAX_HEIGHT: u32 = i32::MAX as u32;

/// Encodes the picture to `out` row by row.
pub fn write_png(contents: &PxiContents<'_>, out: impl Write) -> Result<(), PxiError> {
    let header = contents.header();
    let (width, height) = (header.width(), header.height());
    if height == 0 {
        return Err(PxiError::NoPixels);
    }
    // The encoder holds some rows, and a file may state a width that asks for gigabytes each.
    at_most("picture width", width, MAX_WRITTEN_WIDTH)?;
    at_most("picture height", height, MAX_HEIGHT)?;
    let mut encoder = png::Encoder::new(out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().map_err(png_error)?;
    let mut pixels = writer.stream_writer_with_size(PIECE_LEN).map_err(png_error)?;
    contents.copy_range(0, header.original_size(), &mut pixels)?;
    // Made here: a compressed payload has no tail, and that of a damaged file may hold anything.
    let tail_len = header.padded_len() - header.original_size();
    io::copy(&mut io::Read::take(io::repeat(0), tail_len), &mut pixels)
        .map_err(PxiError::io("write the picture"))?;
    pixels.finish().map_err(png_error)?;
    writer.finish().map_err(png_error)
}

/// Writes the picture to a file, atomically.
pub(crate) fn write_png_file(file: &PxiFile, target: impl Into<Target>) -> Result<(), PxiError> {
    let target = target.into();
    let path = target.path().to_owned();
    let mut out = BufWriter::with_capacity(PIECE_LEN / 4, AtomicFile::create(target)?);
    write_png(&file.contents(), &mut out).map_err(|error| error.at(&path))?;
    let picture =
        out.into_inner().map_err(|error| PxiError::io("write")(error.into_error()).at(&path))?;
    picture.commit()
}

fn at_most(what: &'static str, found: u32, limit: u32) -> Result<(), PxiError> {
    if found <= limit {
        return Ok(());
    }
    Err(PxiError::TooLarge { what, found: found.into(), limit: limit.into() })
}

fn png_error(error: png::EncodingError) -> PxiError {
    match error {
        png::EncodingError::IoError(source) => PxiError::Io { action: "write the picture", source },
        source => PxiError::Png { source },
    }
}
