//! How fast tiles come from the page cache: verified for the first time, and read again once they
//! are known to be good.

mod common;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pixel_llm::model::PixelModel;

/// Copies every tile to where a device would take it from.
fn stream(model: &PixelModel, staging: &mut [u8]) {
    for tile in 0..model.tile_count() {
        let bytes = model.tile(tile).expect("the file is sound");
        staging[..bytes.len()].copy_from_slice(bytes);
        black_box(&staging);
    }
    model.release(0..model.tile_count());
}

fn streaming(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = common::model_in(folder.path());
    let open = || PixelModel::open(&path).expect("it opens");
    let mut staging = vec![0; 64 << 10];

    let mut group = criterion.benchmark_group("streaming");
    let bytes: u64 = {
        let model = open();
        (0..model.tile_count()).map(|tile| model.tile_range(tile).len() as u64).sum()
    };
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    group.bench_function("verified, one core", |bencher| {
        bencher.iter_batched(open, |model| stream(&model, &mut staging), BatchSize::PerIteration);
    });
    let model = open();
    stream(&model, &mut staging);
    group.bench_function("known to be good, one core", |bencher| {
        bencher.iter(|| stream(&model, &mut staging));
    });
    group.finish();
}

criterion_group!(benches, streaming);
criterion_main!(benches);
