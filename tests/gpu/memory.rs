//! Memory stays flat while tokens are drawn on the GPU: lavapipe keeps whatever it compiles anew
//! between two tokens.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::path::Path;
use std::sync::Arc;

use crate::common::gpu::{ask, columns, engine};
use pixel_llm::engine::gpu::GpuEngine;
use pixel_llm::engine::{Batch, Engine};
use pixel_llm::forward::sampling::SamplingParams;
use pixel_llm::model::PixelModel;

/// Memory of the process that no file stands behind, in KiB.
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn draw(engine: &mut GpuEngine, tokens: u32) {
    let params =
        SamplingParams { temperature: 1.0, top_p: 0.9, top_k: 40, ..SamplingParams::default() };
    for index in 0..tokens / 16 {
        let batch = Batch {
            columns: columns(&[1], 0, 0),
            asks: vec![ask(0, &params, index, &[])],
            steps: 16,
            ..Batch::default()
        };
        engine.step(&batch).unwrap();
    }
}

#[test]
fn a_thousand_tokens_take_no_more_memory_than_the_first_hundred() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/models/seedling.pxi");
    let Some(mut engine) = engine(Arc::new(PixelModel::open(&path).unwrap()), 1) else { return };
    draw(&mut engine, 128);
    let before = anonymous_kib();
    draw(&mut engine, 1024);
    let grown = anonymous_kib().saturating_sub(before);
    println!("{grown} KiB more after 1024 tokens");
    assert!(grown < 8 << 10, "{grown} KiB more after 1024 tokens, {before} KiB before");
}
