//! The commands that move pixels and bytes: `set`, `write`, `read` and `png`.

use super::Maps;
use super::arguments::{Numbers, parse_colour};
use crate::app::cli::numbers::thousands;
use crate::app::cli::output::{Exit, Output};
use crate::map::{InfiniteMap, MapError, Patch, Pixel, Rect, Region};
use crate::outputs::{Format, check_output};
use crate::pxi::{AtomicFile, Target};
use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

/// The longest side of a picture in pixels.
// A square of this side takes 1 GiB, at four bytes a pixel.
const MAX_PICTURE_SIDE: u128 = 1 << 14;

#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// The map's folder; made if it is not there.
    map: PathBuf,
    /// The pixel or the rectangle: x,y or x,y,width,height.
    #[arg(allow_hyphen_values = true, required_unless_present = "from", value_name = "PLACE")]
    place: Option<String>,
    /// The colour, in hexadecimal.
    #[arg(value_parser = parse_colour, required_unless_present = "from", value_name = "COLOUR")]
    colour: Option<Pixel>,
    /// Take the changes from a list instead; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["place", "colour"])]
    from: Option<PathBuf>,
    /// Make the changes of a list safe after so many lines, and at its end.
    #[arg(
        long,
        value_name = "LINES",
        requires = "from",
        value_parser = clap::value_parser!(u64).range(1..),
    )]
    flush_every: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct WriteArgs {
    /// The map's folder; made if it is not there.
    map: PathBuf,
    /// The region, unless --at is given, and the file; - or nothing is standard input.
    #[arg(num_args = 0..=2, value_names = ["REGION", "INPUT"])]
    names: Vec<String>,
    /// Write at a place without a name: the top left pixel.
    #[arg(long, value_name = "X,Y", allow_hyphen_values = true)]
    at: Option<Numbers<2>>,
    /// With --at, the width of the rectangle in pixels.
    #[arg(
        long,
        default_value_t = 64,
        requires = "at",
        value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)),
    )]
    width: u64,
}

#[derive(Debug, Args)]
pub(super) struct ReadArgs {
    /// The map's folder.
    map: PathBuf,
    /// The region.
    #[arg(required_unless_present = "at", conflicts_with = "at", value_name = "REGION")]
    name: Option<String>,
    /// Read at a place: the top left pixel.
    #[arg(long, value_name = "X,Y", allow_hyphen_values = true, requires = "length")]
    at: Option<Numbers<2>>,
    /// With --at, the width of the rectangle in pixels.
    #[arg(
        long,
        default_value_t = 64,
        requires = "at",
        value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)),
    )]
    width: u64,
    /// With --at, how many bytes.
    #[arg(long, requires = "at")]
    length: Option<u64>,
    /// Where the bytes go; - is standard output.
    #[arg(long, short, default_value = "-")]
    output: PathBuf,
    /// Replace the output if it exists. A file of the map itself never is.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct PngArgs {
    /// The map's folder.
    map: PathBuf,
    /// The rectangle: x,y,width,height; everything if left out.
    #[arg(allow_hyphen_values = true)]
    rect: Option<Numbers<4>>,
    /// The picture, or - for standard output; MAP with .png by default.
    #[arg(long, short, value_name = "PNG")]
    output: Option<PathBuf>,
    /// Replace the picture if it exists. A file of the map itself never is.
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct FlushReport {
    flushed: u64,
}

pub(super) fn set(maps: &Maps, args: &SetArgs, out: &mut Output) -> anyhow::Result<Exit> {
    if let Some(from) = &args.from {
        let lines: Box<dyn BufRead> = Box::new(BufReader::new(open_input(from)?));
        return set_lines(maps, args, lines, out);
    }
    let (Some(place), Some(colour)) = (&args.place, args.colour) else {
        bail!("give a place and a colour, or --from a list");
    };
    let rect = parse_place(place)?;
    let mut map = maps.write(&args.map)?;
    map.fill(&rect, colour)?;
    map.close()?;
    out.print(&FlushReport { flushed: 1 }, |_| format!("{}: {rect}", args.map.display()))?;
    Ok(Exit::Ok)
}

fn set_lines(
    maps: &Maps,
    args: &SetArgs,
    lines: Box<dyn BufRead>,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let mut map = maps.write(&args.map)?;
    let mut count = 0;
    for line in lines.lines() {
        let line = line.context("cannot read the list")?;
        count += 1;
        let mut change = || -> anyhow::Result<()> {
            let (place, colour) =
                line.trim().split_once(char::is_whitespace).context("expected PLACE COLOUR")?;
            let colour = parse_colour(colour.trim()).map_err(anyhow::Error::msg)?;
            Ok(map.fill(&parse_place(place)?, colour)?)
        };
        change().with_context(|| format!("line {count} of the list"))?;
        if args.flush_every.is_some_and(|every| count % every == 0) {
            acknowledge(&mut map, count, out)?;
        }
    }
    acknowledge(&mut map, count, out)?;
    Ok(Exit::Ok)
}

/// Says how far the list is safe, as soon as it is.
fn acknowledge(map: &mut InfiniteMap, count: u64, out: &mut Output) -> anyhow::Result<()> {
    map.flush()?;
    out.print(&FlushReport { flushed: count }, |report| format!("flushed {}", report.flushed))?;
    // Who reads the numbers relies on them at once, so none waits in the buffer.
    Ok(out.flush()?)
}

fn parse_place(text: &str) -> anyhow::Result<Rect> {
    if text.split(',').count() == 2 {
        let point = text.parse::<Numbers<2>>().map_err(anyhow::Error::msg)?.point()?;
        return Ok(Rect::from_corners(point, point));
    }
    text.parse::<Numbers<4>>().map_err(anyhow::Error::msg)?.rect()
}

#[derive(Serialize)]
struct BytesReport {
    map: String,
    #[serde(flatten)]
    region: Region,
}

pub(super) fn write(maps: &Maps, args: &WriteArgs, out: &mut Output) -> anyhow::Result<Exit> {
    let (name, input) = match (args.at, args.names.as_slice()) {
        (None, [name]) => (name.as_str(), "-"),
        (None, [name, input]) => (name.as_str(), input.as_str()),
        (Some(_), []) => ("", "-"),
        (Some(_), [input]) => ("", input.as_str()),
        (None, _) => bail!("give the name of a region, or --at X,Y"),
        (Some(_), _) => bail!("give --at or the name of a region, not both"),
    };
    // Before the map is opened, which makes one where there is none.
    let mut bytes = Vec::new();
    open_input(Path::new(input))?
        .read_to_end(&mut bytes)
        .with_context(|| format!("{input}: cannot read"))?;
    let mut map = maps.write(&args.map)?;
    let region = match args.at {
        None => map.write_region(name, &bytes)?,
        Some(at) => {
            let (point, length) = (at.point()?, bytes.len() as u64);
            // Three bytes a pixel. No bytes take a row too: a rectangle has one at least.
            let height = length.div_ceil(3).div_ceil(args.width).max(1);
            let rect = Rect::new(point.x, point.y, args.width, height)?;
            map.write_bytes(&rect, 0, &bytes)?;
            Region { name: String::new(), rect, length }
        }
    };
    map.close()?;
    let report = BytesReport { map: args.map.display().to_string(), region };
    out.print(&report, |BytesReport { map, region }| {
        let name = if region.name.is_empty() {
            String::new()
        } else {
            format!("region {}, ", region.name)
        };
        format!("{map}: {} bytes in {name}{}", thousands(region.length), region.rect)
    })?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct ReadReport {
    map: String,
    length: usize,
    output: String,
}

pub(super) fn read(maps: &Maps, args: &ReadArgs, out: &mut Output) -> anyhow::Result<Exit> {
    check_output(&args.output, [args.map.as_path()], Format::Bytes, args.force)?;
    let map = maps.read(&args.map)?;
    let bytes = match (&args.name, args.at, args.length) {
        (Some(name), _, _) => map.read_region(name).map_err(|error| with_names(error, &map))?,
        (None, Some(at), Some(length)) => {
            let point = at.point()?;
            let height = length.div_ceil(3).div_ceil(args.width).max(1);
            map.read_bytes(&Rect::new(point.x, point.y, args.width, height)?, 0, length)?
        }
        _ => bail!("give the name of a region, or --at X,Y and --length"),
    };
    if args.output == Path::new("-") {
        out.bytes().write_all(&bytes)?;
        return Ok(Exit::Ok);
    }
    let mut file = AtomicFile::create(Target::new(&args.output, args.force))?;
    file.write_all(&bytes).with_context(|| format!("{}: cannot write", args.output.display()))?;
    file.commit()?;
    let report = ReadReport {
        map: args.map.display().to_string(),
        length: bytes.len(),
        output: args.output.display().to_string(),
    };
    out.print(&report, |report| {
        format!("{}: {} bytes", report.output, thousands(report.length as u64))
    })?;
    Ok(Exit::Ok)
}

/// Tells which regions there are to who asked for another one.
fn with_names(error: MapError, map: &InfiniteMap) -> anyhow::Error {
    let is_unknown = matches!(error, MapError::NoRegion { .. });
    let error = anyhow::Error::from(error);
    if !is_unknown {
        return error;
    }
    let names: Vec<_> = map.regions().take(10).map(|region| region.name.as_str()).collect();
    let known = if names.is_empty() {
        "the map has none".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    };
    anyhow::anyhow!("{error}; {known}")
}

#[derive(Serialize)]
struct PngReport {
    png: String,
    #[serde(flatten)]
    rect: Rect,
}

pub(super) fn png(maps: &Maps, args: &PngArgs, out: &mut Output) -> anyhow::Result<Exit> {
    let mut default = args.map.as_os_str().to_owned();
    // At its end: in the place of `.map` it could be the picture of something else.
    default.push(".png");
    let path = args.output.clone().unwrap_or_else(|| default.into());
    check_output(&path, [args.map.as_path()], Format::Png, args.force)?;
    let map = maps.read(&args.map)?;
    let rect = match args.rect {
        Some(rect) => rect.rect()?,
        None => map.index().bounds().context("there is nothing on the map to make a picture of")?,
    };
    if rect.width().max(rect.height()) > MAX_PICTURE_SIDE {
        bail!(
            "a picture of {} x {} pixels is too large; give a rectangle of at most \
             {MAX_PICTURE_SIDE} a side: x,y,width,height",
            rect.width(),
            rect.height()
        );
    }
    let patch = map.read_pixels(&rect)?;
    if path == Path::new("-") {
        encode(&patch, out.bytes())?;
        return Ok(Exit::Ok);
    }
    let mut file = BufWriter::new(AtomicFile::create(Target::new(&path, args.force))?);
    encode(&patch, &mut file).with_context(|| format!("{}: cannot write", path.display()))?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.commit()?;
    let report = PngReport { png: path.display().to_string(), rect };
    out.print(&report, |report| format!("{}: {}", report.png, report.rect))?;
    Ok(Exit::Ok)
}

/// Black and unallocated are told apart by the picture's fourth channel.
fn encode(patch: &Patch, out: &mut impl Write) -> anyhow::Result<()> {
    let width = patch.rect.width() as usize;
    let mut rgba: Vec<u8> = patch
        .rgb
        .as_chunks()
        .0
        .iter()
        .flat_map(|&[red, green, blue]| [red, green, blue, 255])
        .collect();
    for rect in &patch.unallocated {
        // Within the picture, so at most MAX_PICTURE_SIDE: the casts lose nothing.
        let left = rect.left().abs_diff(patch.rect.left()) as usize;
        let top = rect.top().abs_diff(patch.rect.top()) as usize;
        for row in top..top + rect.height() as usize {
            rgba[4 * (row * width + left)..][..4 * rect.width() as usize].fill(0);
        }
    }
    let mut encoder = png::Encoder::new(out, width as u32, patch.rect.height() as u32);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&rgba)?;
    Ok(writer.finish()?)
}

fn open_input(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path).with_context(|| format!("{}: cannot open", path.display()))?;
    Ok(Box::new(file))
}
