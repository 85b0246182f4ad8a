//! Speed of the GPU path on a model file: prefill, decode, batched decode, and each kernel by itself.
use std::{sync::Arc, time::Instant};

use pixel_llm::app::gpu_engine::GpuEngine;
use pixel_llm::app::headless::GpuChoice;
use pixel_llm::tokens::sampling::{Key, SamplingParams};
use pixel_llm::tokens::{Ask, AskKind, Batch, Column, Engine};

fn ask(column: u32, params: &SamplingParams, index: u32) -> Ask {
    let kind = AskKind::Draw {
        words: params.words(Key::new(0, 0), index),
        window: vec![],
        window_limit: 0,
        bias: vec![],
    };
    Ask { column, kind, logprob: false, top: 0 }
}

fn main() {
    let path = std::env::args().nth(1).expect("a .pxi model");
    let start = Instant::now();
    let model = Arc::new(
        pixel_llm::model::Cache::default().open(std::path::Path::new(&path), |_| Box::new(|_| ())).unwrap(),
    );
    let vocab = model.config().vocab_size;
    let reference = Arc::clone(&model);
    let mut engine = GpuEngine::new(model, 8, 512, &GpuChoice::default()).unwrap();
    println!(
        "start {:?}; {} dispatches, {} per layer",
        start.elapsed(),
        engine.network().0.dispatches(1),
        engine.network().0.dispatches_per_layer(1)
    );
    let greedy = SamplingParams::greedy();
    let capacity = engine.capacity();
    pixel_llm::app::gpu_engine::trial::settle(&mut engine).unwrap();
    if std::env::var_os("DECODE").is_some() {
        for round in 0..60 {
            let batch = Batch {
                columns: vec![Column { token: 50, slot: 0, position: 64 }],
                asks: vec![ask(0, &greedy, round)],
                repeats: 16,
                ..Batch::default()
            };
            let start = Instant::now();
            engine.step(&batch).unwrap();
            if round % 3 == 2 {
                print!("{:.1} ", start.elapsed().as_secs_f64() * 1e3 / 16.0);
            }
        }
        return;
    }
    for _ in 0..2 {
        let start = Instant::now();
        let ids: Vec<u32> = (0..255).map(|i| (i * 37 + 11) % vocab).collect();
        for (n, chunk) in ids.chunks(capacity.columns).enumerate() {
            let columns: Vec<Column> = chunk
                .iter()
                .enumerate()
                .map(|(i, &token)| Column { token, slot: 0, position: (n * capacity.columns + i) as u32 })
                .collect();
            let asks = if (n + 1) * capacity.columns >= 255 {
                vec![ask(columns.len() as u32 - 1, &greedy, 0)]
            } else {
                vec![]
            };
            engine.step(&Batch { columns, asks, repeats: 1, ..Batch::default() }).unwrap();
        }
        engine.wait().unwrap();
        let t = start.elapsed().as_secs_f64();
        println!("prefill 255: {:.3} s, {:.1} tok/s", t, 255.0 / t);
    }
    for (n, params) in [
        (1u32, greedy.clone()),
        (1, SamplingParams::default()),
        (1, SamplingParams { top_k: 0, ..SamplingParams::default() }),
        (4, greedy.clone()),
        (8, greedy.clone()),
    ] {
        let mut times = vec![];
        let repeats = capacity.repeats as u32;
        for round in 0..4 {
            let columns: Vec<Column> = (0..n)
                .map(|slot| Column { token: 50 + slot, slot, position: 64 + round * repeats })
                .collect();
            let asks = (0..n).map(|column| ask(column, &params, round)).collect();
            let start = Instant::now();
            engine.step(&Batch { columns, asks, repeats, ..Batch::default() }).unwrap();
            times.push(start.elapsed().as_secs_f64() / f64::from(repeats));
        }
        times.sort_by(f64::total_cmp);
        println!(
            "decode x{n} T={} k={}: {:.2} ms/step (best {:.2}), {:.1} tok/s",
            params.temperature,
            params.top_k,
            times[2] * 1e3,
            times[0] * 1e3,
            f64::from(n) / times[2]
        );
    }
    {
        use pixel_llm::passes::reference::{Column as C, Controls, CpuModel, CpuOptions, KvCache};
        let cpu = CpuModel::new(Arc::clone(&reference), CpuOptions { verify: false }).unwrap();
        let mut cache = KvCache::new(cpu.config(), 1, 200);
        let mut times: Vec<f64> = (0..60)
            .map(|p| {
                let start = Instant::now();
                cpu.forward(
                    &mut cache,
                    &[C { token: 5, slot: 0, position: p, wants_logits: true }],
                    &Controls::default(),
                    None,
                )
                .unwrap();
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("CPU path: {:.2} ms median, {:.2} best", times[30], times[0]);
    }
    println!("{}", engine.device());
}
