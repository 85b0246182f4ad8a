//! The writer: what it writes reads back the same, it refuses what the reader would refuse, and it
//! leaves nothing behind when it is dropped.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use crate::common::gguf_builder::noise;
use pixel_llm::model::Encoding;
use pixel_llm::model::gguf::{
    Array, Gguf, GgufError, GgufWriter, TensorInfo, Value, metadata_bytes, parse, parse_metadata,
};
use proptest::prelude::*;

fn info(name: &str, dims: &[u64], encoding: Encoding) -> TensorInfo {
    TensorInfo { name: name.to_owned(), dims: dims.to_vec(), encoding }
}

fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn bytes_may_come_in_any_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = [info("a", &[64, 3], Encoding::Q4_0), info("b", &[5], Encoding::F32)];
    let pairs = [("general.alignment".to_owned(), Value::U32(128))];
    let mut files = Vec::new();
    for piece in [1, 7, 108] {
        let path = folder.path().join(format!("{piece}.gguf"));
        let mut writer = GgufWriter::create(&path, &pairs, &tensors).unwrap();
        noise(1, 108).chunks(piece).for_each(|piece| writer.write(piece).unwrap());
        noise(2, 20).chunks(piece).for_each(|piece| writer.write(piece).unwrap());
        writer.finish().unwrap();
        let gguf = Gguf::open(&path).unwrap();
        assert_eq!(gguf.alignment(), 128);
        assert_eq!(gguf.read(gguf.tensor("b").unwrap()).unwrap(), noise(2, 20));
        files.push(std::fs::read(&path).unwrap());
    }
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(files[0].len() % 128, 0, "the last tensor is padded as GGML's own writers pad it");
}

#[test]
fn a_dropped_writer_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut writer = GgufWriter::create(&path, &[], &[info("a", &[8], Encoding::F32)]).unwrap();
    writer.write(&[1; 16]).unwrap();
    assert_eq!(files_in(folder.path()), 1, "the temporary file");
    assert!(!path.exists());
    drop(writer);
    assert_eq!(files_in(folder.path()), 0);
}

#[test]
fn an_unfinished_file_does_not_replace_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, "old").unwrap();
    let mut writer = GgufWriter::create(&path, &[], &[info("a", &[8], Encoding::F32)]).unwrap();
    writer.write(&[1; 16]).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(
        matches!(error.problem(), GgufError::Unfinished { written: 16, expected: 32 }),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(files_in(folder.path()), 1);

    let writer = GgufWriter::create(&path, &[], &[]).unwrap();
    writer.finish().unwrap();
    assert!(Gguf::open(&path).unwrap().tensors().is_empty(), "a finished file does");
}

#[test]
fn more_bytes_than_the_tensor_has_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut writer = GgufWriter::create(&path, &[], &[info("a", &[8], Encoding::F32)]).unwrap();
    let error = writer.write(&[0; 33]).unwrap_err();
    assert!(
        matches!(error.problem(), GgufError::TooManyBytes { len: 32, written: 0, more: 33 }),
        "{error}"
    );
    writer.write(&[0; 32]).unwrap();
    assert!(writer.write(&[0]).is_err());
    writer.write(&[]).unwrap();
    writer.finish().unwrap();
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let pair = |key: &str| (key.to_owned(), Value::U8(1));
    let tensor = |name: &str, dims: &[u64]| vec![info(name, dims, Encoding::Q4_0)];
    let cases: Vec<(Vec<(String, Value)>, Vec<TensorInfo>)> = vec![
        (vec![pair("a"), pair("a")], vec![]),
        (vec![pair("")], vec![]),
        (vec![pair(&"k".repeat(1 << 16))], vec![]),
        (vec![("general.alignment".to_owned(), Value::U32(13))], vec![]),
        (vec![], tensor("", &[32])),
        (vec![], tensor(&"n".repeat(65), &[32])),
        (vec![], tensor("a", &[])),
        (vec![], tensor("a", &[33])),
        (vec![], tensor("a", &[32, 0])),
        (vec![], tensor("a", &[32, 1, 1, 1, 1])),
        (vec![], tensor("a", &[32, 1 << 62])),
        (vec![], [tensor("a", &[32]), tensor("a", &[32])].concat()),
        (
            vec![],
            [
                tensor("a", &[1 << 62]),
                tensor("b", &[1 << 62]),
                tensor("c", &[1 << 62]),
                tensor("d", &[1 << 62]),
                tensor("e", &[1 << 62]),
                tensor("f", &[1 << 62]),
                tensor("g", &[1 << 62]),
                tensor("h", &[1 << 62]),
            ]
            .concat(),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (i, (pairs, tensors)) in cases.into_iter().enumerate() {
        let path = folder.path().join("model.gguf");
        assert!(GgufWriter::create(&path, &pairs, &tensors).is_err(), "case {i}");
        assert_eq!(files_in(folder.path()), 0, "case {i}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent/model.gguf");
    let error = GgufWriter::create(&path, &[], &[]).unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..12)
}

fn any_array() -> impl Strategy<Value = Array> {
    fn list<T: std::fmt::Debug>(
        element: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Vec<T>> {
        prop::collection::vec(element, 0..6)
    }
    prop_oneof![
        list(any::<u8>()).prop_map(Array::U8),
        list(any::<i8>()).prop_map(Array::I8),
        list(any::<u16>()).prop_map(Array::U16),
        list(any::<i16>()).prop_map(Array::I16),
        list(any::<u32>()).prop_map(Array::U32),
        list(any::<i32>()).prop_map(Array::I32),
        // Any bits, NaN and its payloads too.
        list(any::<u32>().prop_map(f32::from_bits)).prop_map(Array::F32),
        list(any::<bool>()).prop_map(Array::Bool),
        list(any_bytes()).prop_map(|strings| Array::String(strings.into_iter().collect())),
        list(any::<u64>()).prop_map(Array::U64),
        list(any::<i64>()).prop_map(Array::I64),
        list(any::<u64>().prop_map(f64::from_bits)).prop_map(Array::F64),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(|bits| Value::F32(f32::from_bits(bits))),
        any::<bool>().prop_map(Value::Bool),
        any_bytes().prop_map(|bytes| Value::String(bytes.into())),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(|bits| Value::F64(f64::from_bits(bits))),
        any_array().prop_map(Value::Array),
    ]
}

prop_compose! {
    fn any_pairs()(
        values in prop::collection::vec(("[a-z.é]{1,12}", any_value()), 0..8),
    ) -> Vec<(String, Value)> {
        // The number makes keys differ, whatever the text.
        let numbered = values.into_iter().enumerate();
        numbered.map(|(i, (key, value))| (format!("{key}{i}"), value)).collect()
    }
}

prop_compose! {
    fn any_tensor()(
        encoding in prop::sample::select(Encoding::ALL.to_vec()),
        blocks in 1_u64..4,
        rest in prop::collection::vec(1_u64..4, 0..4),
    ) -> (Encoding, Vec<u64>) {
        (encoding, [&[blocks * encoding.block_len() as u64][..], &rest].concat())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn any_valid_file_comes_back_byte_for_byte(
        pairs in any_pairs(),
        shapes in prop::collection::vec(any_tensor(), 0..6),
        alignment in prop::sample::select(vec![None, Some(8), Some(32), Some(64), Some(4096_u32)]),
    ) {
        let pairs: Vec<_> = alignment
            .map(|alignment| ("general.alignment".to_owned(), Value::U32(alignment)))
            .into_iter()
            .chain(pairs)
            .collect();
        let named = |(i, (encoding, dims)): (usize, &(Encoding, Vec<u64>))| {
            info(&format!("t{i}"), dims, *encoding)
        };
        let tensors: Vec<_> = shapes.iter().enumerate().map(named).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any.gguf");
        let mut writer = GgufWriter::create(&path, &pairs, &tensors).unwrap();
        let mut contents = Vec::new();
        for (i, tensor) in tensors.iter().enumerate() {
            let rows: u64 = tensor.dims[1..].iter().product();
            let row = tensor.encoding.row_bytes(tensor.dims[0]).unwrap();
            let bytes = noise(i as u64, (row * rows) as usize);
            writer.write(&bytes).unwrap();
            contents.push(bytes);
        }
        writer.finish().unwrap();

        let gguf = Gguf::open(&path).unwrap();
        prop_assert_eq!(metadata_bytes(gguf.metadata()), metadata_bytes(&pairs));
        prop_assert_eq!(gguf.tensors().len(), tensors.len());
        for ((found, tensor), bytes) in gguf.tensors().iter().zip(&tensors).zip(&contents) {
            prop_assert_eq!(
                (&found.name, &found.dims, found.encoding),
                (&tensor.name, &tensor.dims, tensor.encoding)
            );
            prop_assert_eq!(&gguf.read(found).unwrap(), bytes);
        }
    }

    #[test]
    fn any_metadata_block_comes_back_byte_for_byte(pairs in any_pairs()) {
        let bytes = metadata_bytes(&pairs);
        let metadata = parse_metadata(&bytes, pairs.len() as u64).unwrap();
        prop_assert_eq!(metadata_bytes(&metadata), bytes);
    }

    #[test]
    fn any_bytes_are_a_file_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse(&bytes);
        let _ = parse_metadata(&bytes, 3);
        // The same after a header that gets the parser further.
        let head = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0";
        let _ = parse(&[&head[..], &bytes].concat());
    }

    #[test]
    fn damage_to_a_valid_file_is_never_a_panic(
        pairs in any_pairs(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u32), 1..6),
        keep in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any.gguf");
        let tensors = [info("t", &[32, 2], Encoding::Q5_1)];
        let mut writer = GgufWriter::create(&path, &pairs, &tensors).unwrap();
        writer.write(&noise(1, 48)).unwrap();
        writer.finish().unwrap();
        let mut file = std::fs::read(&path).unwrap();
        for (at, bit) in flips {
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
        }
        let _ = parse(&file);
        let _ = parse(&file[..keep.index(file.len())]);
    }
}
