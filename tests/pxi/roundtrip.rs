//! Any payload comes back, whole and in slices, from every kind of file; nothing else does.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use pixel_llm::pxi::{
    self, Compression, HEADER_LEN, PayloadFile, PxiError, PxiFile, PxiWriter, WriteOptions,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::{cell::Cell, fs, io::Write, path::PathBuf};

/// The header of the golden file, as `specs/pxi.md` prints it.
const GOLDEN_HEADER: [u8; 64] = [
    0x50, 0x58, 0x49, 0x46, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0e, 0x10, 0x00,
    0x00, //
    0x04, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x5d, 0x27, 0xa9, 0xb0, 0xb2, 0x99, 0x22, 0x2c,
    0x29, //
    0x29, 0xb1, 0x6b, 0xbb, 0x03, 0x32, 0xe8, 0xfb, 0xec, 0xca, 0x4c, 0xc4, 0x95, 0x6c, 0xee,
    0xbc, //
    0x5d, 0xd6, 0x06, 0xca, 0xa6, 0xb8, 0xa6, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
];

/// A file beside the repository that some checkouts have: `shared/...` in one of the parent
/// folders.
fn shared(path: &str) -> Option<PathBuf> {
    let parents = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    parents.ancestors().map(|folder| folder.join("shared").join(path)).find(|path| path.exists())
}

fn file_bytes(payload: &[u8], options: WriteOptions) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pxi");
    let mut writer = PxiWriter::create(&path, options).unwrap();
    writer.write_all(payload).unwrap();
    writer.finish().unwrap();
    fs::read(path).unwrap()
}

fn golden() -> Vec<u8> {
    let mut golden = GOLDEN_HEADER.to_vec();
    golden.extend(b"Hello, Pixel World! ".repeat(100));
    golden.extend(b"\nThis is data stored as pixels.\n".repeat(50));
    golden.resize(6208, 0);
    golden
}

#[test]
fn the_demo_is_the_golden_file() {
    assert_eq!(file_bytes(&pxi::demo::payload(), WriteOptions::default()), golden());
}

#[test]
fn the_golden_file_is_read() {
    let golden = golden();
    let contents = pxi::parse(&golden).unwrap();
    contents.verify().unwrap();
    assert_eq!(contents.payload().unwrap(), pxi::demo::payload());
    assert_eq!(contents.to_file_bytes(), golden);
}

#[test]
fn the_golden_file_of_the_original_is_the_same() {
    let Some(path) = shared("golden/demo.pxi") else {
        eprintln!("SKIPPED: shared/golden/demo.pxi is not here");
        return;
    };
    assert_eq!(fs::read(&path).unwrap(), golden());
    let file = PxiFile::open(path).unwrap();
    file.verify().unwrap();
    assert_eq!(file.read_all().unwrap(), pxi::demo::payload());
}

#[test]
fn the_examples_of_the_spec_are_stored_as_it_says() {
    for (compression, stored) in
        [(Compression::RunLength, &[3, b'a'][..]), (Compression::Lz4, b"\x30aaa")]
    {
        let file = file_bytes(b"aaa", WriteOptions { compression, ..Default::default() });
        assert_eq!(&file[HEADER_LEN..], stored);
    }
}

#[test]
fn an_empty_payload_has_no_rows() {
    for compression in Compression::ALL {
        let file = file_bytes(&[], WriteOptions { compression, ..Default::default() });
        let stored_len = if compression == Compression::Lz4 { 1 } else { 0 };
        assert_eq!(file.len(), HEADER_LEN + stored_len);
        let contents = pxi::parse(&file).unwrap();
        assert_eq!((contents.header().height(), contents.read_all().unwrap()), (0, vec![]));
        contents.verify().unwrap();
    }
}

#[test]
fn a_payload_of_several_pieces_round_trips() {
    let payload: Vec<u8> = (0..3_500_000_u32).map(|i| (i / 7 % 251) as u8).collect();
    for compression in Compression::ALL {
        let file = file_bytes(&payload, WriteOptions { width: 1000, compression });
        let contents = pxi::parse(&file).unwrap();
        let reported = Cell::new(0);
        contents.verify_with(&|hashed_len| reported.set(hashed_len)).unwrap();
        assert_eq!(reported.get(), payload.len() as u64);
        assert!(contents.read_all().unwrap() == payload);
    }
}

fn compressions() -> impl Strategy<Value = Compression> {
    prop::sample::select(Compression::ALL.to_vec())
}

/// Noise, and runs of any length, so that both sides of each encoding are used.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let run = (any::<u8>(), 0_usize..700).prop_map(|(value, len)| vec![value; len]);
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    prop::collection::vec(prop_oneof![run, noise], 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_payload_and_any_slice_come_back(
        payload in payloads(),
        width in 1_u32..5000,
        compression in compressions(),
        slice in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let file = file_bytes(&payload, WriteOptions { width, compression });
        let contents = pxi::parse(&file).unwrap();
        contents.verify().unwrap();
        prop_assert_eq!(&contents.read_all().unwrap(), &payload);
        let (one, other) = (slice.0.index(payload.len() + 1), slice.1.index(payload.len() + 1));
        let (start, end) = (one.min(other), one.max(other));
        let len = (end - start) as u64;
        prop_assert_eq!(&contents.read_range(start as u64, len).unwrap(), &payload[start..end]);
        let mut copied = Vec::new();
        contents.copy_range(start as u64, len, &mut copied).unwrap();
        prop_assert_eq!(&copied, &payload[start..end]);
        let header = contents.header();
        prop_assert_eq!(header.original_size(), payload.len() as u64);
        prop_assert_eq!(&header.checksum()[..], &Sha256::digest(&payload)[..]);
        if compression == Compression::None {
            let pixels = u64::from(width) * u64::from(header.height());
            prop_assert_eq!(file.len() as u64, 64 + 3 * pixels);
        }
    }

    #[test]
    fn a_slice_past_the_end_is_refused(
        payload in payloads(), compression in compressions(), past in 1_u64..,
    ) {
        let file = file_bytes(&payload, WriteOptions { compression, ..Default::default() });
        let contents = pxi::parse(&file).unwrap();
        let payload_len = payload.len() as u64;
        let beyond = payload_len.saturating_add(past);
        for (offset, len) in [(0, beyond), (beyond, 0), (past, u64::MAX)] {
            let refused = contents.read_range(offset, len);
            let is_range_error = matches!(refused, Err(PxiError::Range { .. }));
            prop_assert!(is_range_error, "{:?}", refused);
        }
    }

    #[test]
    fn a_stream_is_the_same_however_it_is_cut(
        payload in payloads(),
        compression in compressions(),
        piece_len in 1_usize..400,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pxi");
        let options = WriteOptions { compression, ..Default::default() };
        let mut writer = PxiWriter::create(&path, options).unwrap();
        for piece in payload.chunks(piece_len) {
            writer.write_all(piece).unwrap();
        }
        prop_assert_eq!(writer.written_len(), payload.len() as u64);
        writer.finish().unwrap();
        prop_assert_eq!(fs::read(path).unwrap(), file_bytes(&payload, options));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        mut file in prop::collection::vec(any::<u8>(), 0..200),
        header in any::<bool>(),
        compression in 0_u8..4,
    ) {
        if header && file.len() >= 64 {
            let size = file[63];
            file[..22].copy_from_slice(&GOLDEN_HEADER[..22]);
            file[12] = 0;
            file[13] = size;
            file[21] = u8::from(size > 0);
            file[22] = compression;
        }
        if let Ok(contents) = pxi::parse(&file) {
            let _ = contents.verify();
            if let Ok(payload) = contents.read_all() {
                prop_assert_eq!(payload.len() as u64, contents.header().original_size());
            }
        }
    }
}

#[test]
fn threads_fill_a_payload() {
    let payload: Vec<u8> =
        (0..5_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pxi");
    let file = PayloadFile::create(&path, 777, payload.len() as u64).unwrap();
    std::thread::scope(|scope| {
        for (index, piece) in payload.chunks(611_953).enumerate().rev() {
            let file = &file;
            scope.spawn(move || file.write_at(index as u64 * 611_953, piece).unwrap());
        }
    });
    assert!(!path.exists());
    let reported = Cell::new(0);
    let header = file.finish(&|hashed_len| reported.set(hashed_len)).unwrap();
    assert_eq!(reported.get(), payload.len() as u64);
    let streamed = file_bytes(&payload, WriteOptions { width: 777, ..Default::default() });
    assert!(fs::read(&path).unwrap() == streamed);
    assert_eq!(PxiFile::open(&path).unwrap().header(), &header);
}

#[test]
fn a_piece_outside_the_payload_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pxi");
    let file = PayloadFile::create(&path, 10, 7).unwrap();
    for (offset, len) in [(7, 1), (0, 8), (u64::MAX, 1)] {
        let refused = file.write_at(offset, &[1; 8][..len]).unwrap_err();
        assert!(matches!(refused.inner(), PxiError::Range { .. }), "{refused}");
    }
    file.write_at(7, &[]).unwrap();
    drop(file);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // What is never written is zero.
    PayloadFile::create(&path, 10, 7).unwrap().finish(&|_| ()).unwrap();
    let file = PxiFile::open(path).unwrap();
    file.verify().unwrap();
    assert_eq!(file.payload().unwrap(), [0; 7]);
}

#[test]
fn a_dropped_writer_leaves_nothing_and_an_open_reader_keeps_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pxi");
    let write = |payload: &[u8]| {
        let mut writer = PxiWriter::create(&path, WriteOptions::default()).unwrap();
        writer.write_all(payload).unwrap();
        writer
    };
    write(b"old").finish().unwrap();
    drop(write(b"never"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let reader = PxiFile::open(&path).unwrap();
    write(b"new").finish().unwrap();
    assert_eq!(reader.payload().unwrap(), b"old");
    assert_eq!(PxiFile::open(&path).unwrap().payload().unwrap(), b"new");
}

#[test]
fn a_compressed_payload_cannot_be_borrowed() {
    let file = file_bytes(
        b"aaa",
        WriteOptions { compression: Compression::RunLength, ..Default::default() },
    );
    assert!(matches!(pxi::parse(&file).unwrap().payload(), Err(PxiError::Compressed { .. })));
}

#[test]
fn the_picture_holds_the_payload_and_a_black_tail() {
    for compression in Compression::ALL {
        let file = file_bytes(&pxi::demo::payload(), WriteOptions { width: 100, compression });
        let contents = pxi::parse(&file).unwrap();
        let mut picture = Vec::new();
        pxi::view::write_png(&contents, &mut picture).unwrap();
        let mut decoder = png::Decoder::new(std::io::Cursor::new(picture)).read_info().unwrap();
        assert_eq!(decoder.info().size(), (100, 12));
        let mut pixels = vec![0xFF; decoder.output_buffer_size().unwrap()];
        decoder.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, pxi::demo::payload());
    }
    let file = file_bytes(&[200; 4], WriteOptions { width: 2, ..Default::default() });
    let mut picture = Vec::new();
    pxi::view::write_png(&pxi::parse(&file).unwrap(), &mut picture).unwrap();
    let mut decoder = png::Decoder::new(std::io::Cursor::new(picture)).read_info().unwrap();
    let mut pixels = [0xFF; 6];
    decoder.next_frame(&mut pixels).unwrap();
    assert_eq!(pixels, [200, 200, 200, 200, 0, 0]);
    let empty = file_bytes(&[], WriteOptions::default());
    let refused = pxi::view::write_png(&pxi::parse(&empty).unwrap(), Vec::new());
    assert!(matches!(refused, Err(PxiError::NoPixels)));
}
