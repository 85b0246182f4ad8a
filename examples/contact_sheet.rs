//! Lays folders of pictures out as one contact sheet, a row per folder:
//! `contact_sheet SHEET.png FOLDER...`
//!
//! `docs/make-contact-sheet` takes the pictures by tours of the world.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

type Failure = Box<dyn std::error::Error>;

/// Screen pixels that become one.
const SHRINK: usize = 4;
/// Pixels between pictures.
const GAP: usize = 6;

struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Picture {
    fn read(path: &Path) -> Result<Self, Failure> {
        let mut reader = png::Decoder::new(BufReader::new(File::open(path)?)).read_info()?;
        let mut rgb = vec![0; reader.output_buffer_size().ok_or("the picture is too large")?];
        let info = reader.next_frame(&mut rgb)?;
        if info.color_type != png::ColorType::Rgb || info.bit_depth != png::BitDepth::Eight {
            return Err(format!("{}: expected 8-bit RGB", path.display()).into());
        }
        Ok(Self { width: info.width as usize, height: info.height as usize, rgb })
    }

    /// The mean of each square.
    fn shrunk(&self) -> Self {
        let (width, height) = (self.width / SHRINK, self.height / SHRINK);
        let mean = |x: usize, y: usize, channel: usize| {
            let square = (0..SHRINK * SHRINK).map(|i| {
                let (x, y) = (x * SHRINK + i % SHRINK, y * SHRINK + i / SHRINK);
                u32::from(self.rgb[(y * self.width + x) * 3 + channel])
            });
            // Five bits of a channel: half the file, and nobody sees the difference at this size.
            (square.sum::<u32>() / (SHRINK * SHRINK) as u32) as u8 & 0xF8 | 0x04
        };
        let rgb =
            (0..width * height * 3).map(|i| mean(i / 3 % width, i / 3 / width, i % 3)).collect();
        Self { width, height, rgb }
    }
}

fn pictures(folder: &Path) -> Result<Vec<Picture>, Failure> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, Failure>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "png"));
    paths.sort();
    paths.iter().map(|path| Ok(Picture::read(path)?.shrunk())).collect()
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let sheet = arguments.next().ok_or("usage: contact_sheet SHEET.png FOLDER...")?;
    let rows: Vec<Vec<Picture>> =
        arguments.map(|folder| pictures(&folder)).collect::<Result<_, _>>()?;
    let all = || rows.iter().flatten();
    let across = all().map(|picture| picture.width).max().ok_or("there are no pictures")? + GAP;
    let down = all().map(|picture| picture.height).max().unwrap_or(0) + GAP;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let (width, height) = (columns * across + GAP, rows.len() * down + GAP);
    let mut rgb = vec![0x50; width * height * 3];
    for (row, pictures) in rows.iter().enumerate() {
        for (column, picture) in pictures.iter().enumerate() {
            for (y, line) in picture.rgb.chunks(picture.width * 3).enumerate() {
                let at = ((row * down + GAP + y) * width + column * across + GAP) * 3;
                rgb[at..at + line.len()].copy_from_slice(line);
            }
        }
    }
    let mut encoder =
        png::Encoder::new(BufWriter::new(File::create(&sheet)?), width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&rgb)?;
    writer.finish()?;
    println!("{}: {width} x {height}", sheet.display());
    Ok(())
}
