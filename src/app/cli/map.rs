//! `pixel-llm map`: the infinite map from the command line. Each command is a few calls of
//! [`crate::map`].

mod arguments;
mod demo;
mod look;
mod paint;

use super::output::{Exit, Output, print_warning};
use crate::map::{Access, InfiniteMap, MapOptions, TileSize};
use arguments::{Numbers, parse_tile_size};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  pixel-llm map demo                              Make demo.map and look at it
  pixel-llm map set plane.map -5,7 ff8800         Colour a pixel, anywhere within 64-bit coordinates
  pixel-llm map get plane.map -5,7
  pixel-llm map write plane.map notes notes.txt   Store a file in a region called notes
  pixel-llm map read plane.map notes > notes.txt
  pixel-llm map near plane.map 0,0                What is around a pixel
  pixel-llm map query plane.map -64,-64,128,128   What is in a rectangle: x, y, width, height
  pixel-llm map verify plane.map                  Exit code 1 if a tile is damaged

A map is a folder. Coordinates may be written as 1000, -2^40, 0xff or 1_000_000.
Exit codes: 0 done, 1 verify found damage, 2 the command could not be run.";

/// Arguments of `pixel-llm map`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct MapArgs {
    /// Refuse a map whose tiles have another side; a new map gets this one (64 if left out).
    #[arg(long, global = true, value_name = "PIXELS", value_parser = parse_tile_size)]
    tile_size: Option<TileSize>,
    #[command(subcommand)]
    command: MapCommand,
}

#[derive(Debug, Subcommand)]
enum MapCommand {
    /// Write near and far from the origin, read it back, and look around.
    #[command(after_help = "Example:\n  pixel-llm map demo && pixel-llm map stats demo.map")]
    Demo {
        /// The map's folder; made if it is not there.
        #[arg(default_value = "demo.map")]
        map: PathBuf,
    },
    /// Tell the colour of a pixel.
    #[command(after_help = "Examples:
  pixel-llm map get plane.map 0,0            #48656c, or unallocated
  pixel-llm map get plane.map -2^40,2^40 --json")]
    Get {
        /// The map's folder.
        map: PathBuf,
        /// The pixel: x,y.
        #[arg(allow_hyphen_values = true)]
        at: Numbers<2>,
    },
    /// Colour a pixel or a rectangle, or many of them from a list.
    #[command(after_help = "Examples:
  pixel-llm map set plane.map 10,20 ff0000
  pixel-llm map set plane.map -64,0,128,64 '#00ff00'         x, y, width, height
  some-program | pixel-llm map set plane.map --from - --flush-every 1000

A list has one line for each change: x,y COLOUR or x,y,width,height COLOUR. After each flush the \
number of the
last line that is safely stored is printed.")]
    Set(paint::SetArgs),
    /// Store bytes in a named region, or at a place.
    #[command(after_help = "Examples:
  pixel-llm map write plane.map notes notes.txt
  some-program | pixel-llm map write plane.map log
  pixel-llm map write plane.map --at -1000,2^40 --width 128 notes.txt")]
    Write(paint::WriteArgs),
    /// Get bytes back.
    #[command(after_help = "Examples:
  pixel-llm map read plane.map notes --output notes.txt
  pixel-llm map read plane.map --at -1000,2^40 --width 128 --length 500")]
    Read(paint::ReadArgs),
    /// Show the eight pixels and tiles around a pixel, and what else is nearest.
    #[command(after_help = "Examples:\n  pixel-llm map near plane.map 5,0\n  \
        pixel-llm map near plane.map -2^40,0 --count 10 --json")]
    Near {
        /// The map's folder.
        map: PathBuf,
        /// The pixel: x,y.
        #[arg(allow_hyphen_values = true)]
        at: Numbers<2>,
        /// How many of the nearest things to list.
        #[arg(long, default_value_t = 4)]
        count: usize,
    },
    /// List what is in a rectangle, or along a ray.
    #[command(after_help = "Examples:
  pixel-llm map query plane.map 0,0,1000,1000            x, y, width, height
  pixel-llm map query plane.map --ray 0,0,3,-1           from a pixel, in steps of 3 right and 1 \
  up")]
    Query {
        /// The map's folder.
        map: PathBuf,
        /// The rectangle: x,y,width,height; the whole plane if left out.
        #[arg(allow_hyphen_values = true, conflicts_with = "ray")]
        rect: Option<Numbers<4>>,
        /// A ray: x,y,dx,dy.
        #[arg(long, allow_hyphen_values = true, value_name = "X,Y,DX,DY")]
        ray: Option<Numbers<4>>,
        /// List no more than this many.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Show how much there is, and where it is kept.
    #[command(after_help = "Example:\n  pixel-llm map stats plane.map --json | jq .tiles")]
    Stats {
        /// The map's folder.
        map: PathBuf,
    },
    /// Check every stored tile against its checksum.
    #[command(after_help = "Example:\n  pixel-llm map verify plane.map && echo all good")]
    Verify {
        /// The map's folder.
        map: PathBuf,
    },
    /// Make a PNG picture of a rectangle; what was never written is transparent.
    #[command(after_help = "Examples:
  pixel-llm map png plane.map                            everything, if it is not too far apart
  pixel-llm map png plane.map -32,-32,256,256 -o corner.png")]
    Png(paint::PngArgs),
}

/// Runs a command.
///
/// # Errors
/// The map cannot be opened, or the command not be done.
pub fn run(args: MapArgs, out: &mut Output) -> anyhow::Result<Exit> {
    let maps = Maps { options: MapOptions { tile_size: args.tile_size, ..MapOptions::default() } };
    match args.command {
        MapCommand::Demo { map } => demo::run(&maps, &map, out),
        MapCommand::Get { map, at } => look::get(&maps, &map, at, out),
        MapCommand::Set(args) => paint::set(&maps, &args, out),
        MapCommand::Write(args) => paint::write(&maps, &args, out),
        MapCommand::Read(args) => paint::read(&maps, &args, out),
        MapCommand::Near { map, at, count } => look::near(&maps, &map, at, count, out),
        MapCommand::Query { map, rect, ray, limit } => {
            look::query(&maps, &map, rect, ray, limit, out)
        }
        MapCommand::Stats { map } => look::stats(&maps, &map, out),
        MapCommand::Verify { map } => look::verify(&maps, &map, out),
        MapCommand::Png(args) => paint::png(&maps, &args, out),
    }
}

/// How the commands open maps.
struct Maps {
    options: MapOptions,
}

impl Maps {
    fn read(&self, folder: &Path) -> anyhow::Result<InfiniteMap> {
        let map = InfiniteMap::open(folder, Access::Read, &self.options)?;
        warn(&map);
        Ok(map)
    }

    fn write(&self, folder: &Path) -> anyhow::Result<InfiniteMap> {
        let map = InfiniteMap::open_or_create(folder, &self.options)?;
        warn(&map);
        Ok(map)
    }
}

/// What is damaged is said once; the rest of the map can be used.
fn warn(map: &InfiniteMap) {
    for problem in map.problems() {
        print_warning(&problem.to_string());
    }
}
