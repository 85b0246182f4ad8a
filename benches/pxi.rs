//! PixelFS at size: a slice of a file of 1 GiB, and the speed of writing and verifying.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pixel_llm::pxi::{PayloadFile, PxiFile, PxiWriter, WriteOptions};
use std::{hint::black_box, io::Write};

const GIB: u64 = 1 << 30;
const SLICE_LEN: u64 = 4096;
const STREAM_LEN: usize = 64 << 20;

/// Slices far from each other in a file of 1 GiB that has been opened. Target: under 100
/// microseconds.
fn slice_of_a_gibibyte(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("large.pxi");
    // Zeros that were never written take no room on the disk.
    let large = PayloadFile::create(&path, 4096, GIB).expect("a file can be made");
    large.finish(&|_| ()).expect("the file can be finished");
    let file = PxiFile::open(&path).expect("the file can be opened");

    let mut group = criterion.benchmark_group("pxi/1GiB");
    group.throughput(Throughput::Bytes(SLICE_LEN));
    let mut offset = 0;
    group.bench_function("read 4 KiB", |bencher| {
        bencher.iter(|| {
            // A stride that is no multiple of a page and comes round the whole file.
            offset = (offset + 300_000_007) % (GIB - SLICE_LEN);
            black_box(file.read_range(offset, SLICE_LEN).expect("the range is within the payload"))
        });
    });
    group.bench_function("open and read 4 KiB", |bencher| {
        bencher.iter(|| {
            let file = PxiFile::open(&path).expect("the file can be opened");
            black_box(file.read_range(GIB / 2, SLICE_LEN).expect("the range is within the payload"))
        });
    });
    group.finish();
}

fn streams(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("stream.pxi");
    let payload: Vec<u8> =
        (0..STREAM_LEN as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let write = || {
        let mut writer =
            PxiWriter::create(&path, WriteOptions::default()).expect("a file can be made");
        writer.write_all(&payload).expect("the payload can be written");
        writer.finish().expect("the file can be finished")
    };
    let mut group = criterion.benchmark_group("pxi/64MiB");
    group.throughput(Throughput::Bytes(STREAM_LEN as u64)).sample_size(10);
    group.bench_function("write", |bencher| bencher.iter(write));
    let file = PxiFile::open(&path).expect("the file can be opened");
    group.bench_function("verify", |bencher| {
        bencher.iter(|| file.verify().expect("the file is intact"))
    });
    group.finish();
}

criterion_group!(benches, slice_of_a_gibibyte, streams);
criterion_main!(benches);
