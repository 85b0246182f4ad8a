//! A model that goes through a small part of the device's memory gives, to the bit, what it gives
//! when all of it is there.
//!
//! A test whose model or adapter is not there says so and passes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::path::Path;
use std::sync::Arc;

use crate::common::engine::{batch, on_gpu, tiny};
use crate::common::forward::convert_to;
use crate::common::golden::smollm2_cases;
use crate::common::gpu::has_adapter;
use crate::common::smollm2;
use pixel_llm::engine::gpu::GpuEngine;
use pixel_llm::engine::gpu::headless::GpuChoice;
use pixel_llm::engine::{Batch, Column, Engine, LogitsQuery};
use pixel_llm::model::{Encoding, PixelModel};

fn engine(model: &Arc<PixelModel>, memory: Option<u64>, slots: usize, whole: bool) -> GpuEngine {
    let choice = GpuChoice { memory, ..GpuChoice::default() };
    let mut engine = GpuEngine::new(Arc::clone(model), slots, 128, &choice).unwrap();
    engine.set_fused_layers(whole);
    engine
}

/// Logits of a prompt in pieces of 20 columns, then of more tokens one by one, as bits.
fn bits(engine: &mut GpuEngine, prompt: &[u32], more: u32) -> Vec<Vec<u32>> {
    let mut rows = Vec::new();
    let mut position = 0;
    for piece in prompt.chunks(20.min(engine.capacity().columns)) {
        rows.extend(on_gpu(engine, &batch(piece, 0, position)));
        position += piece.len() as u32;
    }
    for _ in 0..more {
        let row = rows.last().unwrap();
        let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        rows.extend(on_gpu(engine, &batch(&[best as u32], 0, position)));
        position += 1;
    }
    rows.into_iter().map(|row| row.into_iter().map(f32::to_bits).collect()).collect()
}

/// Tokens drawn on the device.
fn drawn(engine: &mut GpuEngine, first: u32, count: u32) -> Vec<u32> {
    let (mut token, mut tokens, mut position) = (first, Vec::new(), 0);
    let steps = count.min(engine.capacity().steps as u32);
    while tokens.len() < count as usize {
        let columns = vec![Column { token, slot: 0, position }];
        let asks = vec![LogitsQuery::greedy(0)];
        let answers =
            engine.step(&Batch { columns, asks, steps, ..Batch::default() }).unwrap().remove(0);
        position += answers.len() as u32;
        tokens.extend(answers.iter().map(|answer| answer.token));
        token = *tokens.last().unwrap();
    }
    tokens.truncate(count as usize);
    tokens
}

#[test]
fn small_models_of_all_families_give_the_same_bits() {
    if !has_adapter() {
        return;
    }
    for (architecture, encoding) in [
        ("llama", Encoding::Q4_0),
        ("qwen2", Encoding::Q8_0),
        ("qwen3", Encoding::Q6_K),
        ("llama", Encoding::F16),
    ] {
        let model = tiny(architecture, encoding);
        let bytes = pixel_llm::residency::compute::weights_in_bytes(&model);
        for whole in [false, true] {
            let prompt: Vec<u32> = (0..30).map(|i| i * 7 % model.config().vocab_size).collect();
            let expected = bits(&mut engine(&model, None, 1, whole), &prompt, 6);
            // As little as there can be, found by asking for less than that.
            let choice = GpuChoice { memory: Some(1), ..GpuChoice::default() };
            let error =
                GpuEngine::new(Arc::clone(&model), 1, 128, &choice).err().unwrap().to_string();
            let least = error
                .split(": ")
                .last()
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .parse::<u64>()
                .unwrap();
            assert!(least < bytes, "{error}");
            for cap in [least, (least + bytes) / 2] {
                let mut streamed = engine(&model, Some(cap), 1, whole);
                let pool = streamed.pool().expect("it does not fit");
                assert!(
                    pool.plan().size_in_bytes() <= cap,
                    "{} for {cap}",
                    pool.plan().size_in_bytes()
                );
                let found = bits(&mut streamed, &prompt, 6);
                assert!(
                    found == expected,
                    "{architecture} {encoding:?}, {cap} of {bytes} bytes, whole {whole}"
                );
            }
        }
    }
}

#[test]
fn smollm2_through_32_mib_gives_the_same_bits_and_the_same_tokens() {
    let Some(path) = smollm2() else { return };
    if !has_adapter() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.pxi");
    convert_to(&path, &file);
    let model = Arc::new(PixelModel::open(&file).unwrap());
    let case = smollm2_cases().remove(0);
    for whole in [false, true] {
        let mut all = engine(&model, None, 2, whole);
        let mut streamed = engine(&model, Some(32 << 20), 2, whole);
        let (a, b) = (bits(&mut all, &case.ids, 8), bits(&mut streamed, &case.ids, 8));
        assert!(a == b, "whole layers: {whole}");
        let (a, b) = (drawn(&mut all, case.ids[0], 24), drawn(&mut streamed, case.ids[0], 24));
        assert_eq!(a, b);
        println!("{}\n{:#?}", streamed.device(), streamed.pool().unwrap().counters().figures());
    }
    assert_anonymous_memory_below(Path::new("/proc/self/status"), 1 << 30);
}

fn assert_anonymous_memory_below(status: &Path, most: u64) {
    let Ok(text) = std::fs::read_to_string(status) else { return };
    let value = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let bytes = value.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024;
    println!("{bytes} bytes of anonymous memory");
    assert!(bytes < most);
}

#[test]
fn a_damaged_tile_ends_a_streamed_run_by_its_name() {
    if !has_adapter() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let gguf = folder.path().join("tiny.gguf");
    crate::common::tiny::Tiny::new("llama", Encoding::Q8_0, 7).write(&gguf);
    let file = folder.path().join("tiny.pxi");
    convert_to(&gguf, &file);
    let model = PixelModel::open(&file).unwrap();
    let tile = model.tensor("blk.1.ffn_down.weight").unwrap().first_tile;
    let at = model.tile_range(tile).start;
    drop(model);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[64 + at] ^= 1;
    std::fs::write(&file, bytes).unwrap();

    let model = Arc::new(PixelModel::open(&file).unwrap());
    let choice = GpuChoice { memory: Some(1), ..GpuChoice::default() };
    let error = GpuEngine::new(Arc::clone(&model), 1, 128, &choice).err().unwrap().to_string();
    let least =
        error.split(": ").last().unwrap().split(' ').next().unwrap().parse::<u64>().unwrap();
    let mut streamed = engine(&model, Some(least), 1, false);
    for _ in 0..2 {
        let error = streamed.logits(&batch(&[1], 0, 0), &[0]).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
    }
    assert_eq!(streamed.pool().unwrap().counters().figures().bad_tiles, 1);
}

#[test]
fn a_device_without_room_is_told_of_and_ends_nothing() {
    if !has_adapter() {
        return;
    }
    let model = tiny("llama", Encoding::Q8_0);
    let choice = GpuChoice { most_percent: Some(0), ..GpuChoice::default() };
    match GpuEngine::new(model, 1, 128, &choice) {
        Err(error) => assert!(error.to_string().contains("has no room for a texture"), "{error}"),
        Ok(_) => eprintln!(
            "SKIPPED, nothing was tested: this driver does not tell how much memory there is"
        ),
    }
}

/// `cargo test --release --test gpu streaming -- --ignored --nocapture`: writes 9 GiB of files, of
/// random weights, and runs what they hold.
#[test]
#[ignore = "takes 9 GiB of disk and some minutes"]
fn a_model_of_4_gib_runs_in_256_mib_of_device_and_1_gib_of_host_memory() {
    use crate::common::tiny::{Shape, Tiny};
    use pixel_llm::model::gguf::{GgufWriter, TensorInfo, Value};

    if !has_adapter() {
        return;
    }
    const LAYERS: u32 = 92;
    let shape = Shape {
        width: 2048,
        vocab: 32_000,
        hidden: 5632,
        heads: 32,
        kv_heads: 4,
        head_size: 64,
        layers: 1,
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (gguf, file) = (folder.path().join("large.gguf"), folder.path().join("large.pxi"));
    {
        // One random layer, many times over, so that the generator is small.
        let mut tiny = Tiny::shaped("llama", Encoding::Q8_0, 11, shape);
        tiny.set("llama.block_count", Value::U32(LAYERS));
        let of_layer = |name: &str| name.strip_prefix("blk.0.").map(str::to_owned);
        let mut entries: Vec<(TensorInfo, usize)> = Vec::new();
        for (index, (info, _)) in tiny.tensors.iter().enumerate() {
            if of_layer(&info.name).is_none() {
                entries.push((info.clone(), index));
            }
        }
        for layer in 0..LAYERS {
            for (index, (info, _)) in tiny.tensors.iter().enumerate() {
                if let Some(rest) = of_layer(&info.name) {
                    entries.push((
                        TensorInfo { name: format!("blk.{layer}.{rest}"), ..info.clone() },
                        index,
                    ));
                }
            }
        }
        let infos: Vec<TensorInfo> = entries.iter().map(|(info, _)| info.clone()).collect();
        let mut writer = GgufWriter::create(&gguf, &tiny.pairs, &infos).unwrap();
        entries.iter().for_each(|(_, index)| writer.write(&tiny.tensors[*index].1).unwrap());
        writer.finish().unwrap();
    }
    convert_to(&gguf, &file);
    std::fs::remove_file(&gguf).unwrap();
    let model = Arc::new(PixelModel::open(&file).unwrap());
    let bytes = pixel_llm::residency::compute::weights_in_bytes(&model);
    assert!(bytes >= 4 << 30, "{bytes}");
    let mut engine = engine(&model, Some(256 << 20), 1, false);
    let before = engine.pool().unwrap().counters().figures();
    for tokens in [1, 4] {
        let start = std::time::Instant::now();
        let drawn = drawn(&mut engine, 7, tokens);
        println!("{drawn:?}: {:.2} s a token", start.elapsed().as_secs_f64() / f64::from(tokens));
        assert_anonymous_memory_below(Path::new("/proc/self/status"), 1 << 30);
    }
    let figures = engine.pool().unwrap().counters().figures().since(&before);
    println!(
        "{}\n{figures:#?}\n{:.2} GB/s read",
        engine.device(),
        figures.read_rate().unwrap() / 1e9
    );
    println!("{}", std::fs::read_to_string("/proc/self/status").unwrap_or_default());
}
