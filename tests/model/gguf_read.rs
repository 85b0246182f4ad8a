//! Valid GGUF files: whole and split, both versions, every type of value, odd but legal layouts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use crate::common::gguf_builder::{GgufBuilder, noise, raw_pair, string};
use pixel_llm::model::Encoding;
use pixel_llm::model::gguf::{
    Array, Gguf, GgufError, GgufHeader, Value, ValueType, metadata_bytes, parse, parse_metadata,
};

/// One pair of every type and one array of every type, with the bytes that the format's text gives
/// them.
fn every_type() -> Vec<(String, Value, Vec<u8>)> {
    let array = |element_type: u32, count: u64, elements: &[u8]| {
        [&element_type.to_le_bytes()[..], &count.to_le_bytes(), elements].concat()
    };
    let cases = vec![
        ("u8", Value::U8(200), 0, vec![200]),
        ("i8", Value::I8(-2), 1, vec![0xfe]),
        ("u16", Value::U16(0x0102), 2, vec![2, 1]),
        ("i16", Value::I16(-2), 3, vec![0xfe, 0xff]),
        ("u32", Value::U32(0x0102_0304), 4, vec![4, 3, 2, 1]),
        ("i32", Value::I32(-2), 5, vec![0xfe, 0xff, 0xff, 0xff]),
        ("f32", Value::F32(1.0), 6, vec![0, 0, 0x80, 0x3f]),
        ("bool", Value::Bool(true), 7, vec![1]),
        ("string", "hi".into(), 8, vec![2, 0, 0, 0, 0, 0, 0, 0, b'h', b'i']),
        ("u64", Value::U64(1 << 40), 10, vec![0, 0, 0, 0, 0, 1, 0, 0]),
        ("i64", Value::I64(-1), 11, vec![0xff; 8]),
        ("f64", Value::F64(-2.0), 12, vec![0, 0, 0, 0, 0, 0, 0, 0xc0]),
        ("[u8]", Value::Array(Array::U8(vec![1, 2])), 9, array(0, 2, &[1, 2])),
        ("[i8]", Value::Array(Array::I8(vec![-1])), 9, array(1, 1, &[0xff])),
        ("[u16]", Value::Array(Array::U16(vec![1, 256])), 9, array(2, 2, &[1, 0, 0, 1])),
        ("[i16]", Value::Array(Array::I16(vec![-1])), 9, array(3, 1, &[0xff, 0xff])),
        ("[u32]", Value::Array(Array::U32(vec![])), 9, array(4, 0, &[])),
        ("[i32]", Value::Array(Array::I32(vec![-2])), 9, array(5, 1, &[0xfe, 0xff, 0xff, 0xff])),
        ("[f32]", Value::Array(Array::F32(vec![1.0])), 9, array(6, 1, &[0, 0, 0x80, 0x3f])),
        ("[bool]", Value::Array(Array::Bool(vec![true, false])), 9, array(7, 2, &[1, 0])),
        (
            "[string]",
            Value::Array(Array::String([&b"a"[..], b"", b"\xff"].into_iter().collect())),
            9,
            array(8, 3, &[string("a"), string(""), string(b"\xff")].concat()),
        ),
        ("[u64]", Value::Array(Array::U64(vec![1])), 9, array(10, 1, &[1, 0, 0, 0, 0, 0, 0, 0])),
        ("[i64]", Value::Array(Array::I64(vec![-1])), 9, array(11, 1, &[0xff; 8])),
        (
            "[f64]",
            Value::Array(Array::F64(vec![-2.0])),
            9,
            array(12, 1, &[0, 0, 0, 0, 0, 0, 0, 0xc0]),
        ),
    ];
    cases
        .into_iter()
        .map(|(key, value, number, bytes)| (key.to_owned(), value, raw_pair(key, number, &bytes)))
        .collect()
}

#[test]
fn every_type_of_value_has_the_bytes_of_the_format() {
    let cases = every_type();
    for value_type in ValueType::ALL {
        assert!(cases.iter().any(|(_, value, _)| value.value_type() == value_type), "{value_type}");
    }
    for (key, value, bytes) in &cases {
        assert_eq!(&metadata_bytes(&[(key.clone(), value.clone())]), bytes, "{key}");
        assert_eq!(parse_metadata(bytes, 1).unwrap().get(key), Some(value), "{key}");
    }
    let all: Vec<u8> = cases.iter().flat_map(|(_, _, bytes)| bytes.clone()).collect();
    let metadata = parse_metadata(&all, cases.len() as u64).unwrap();
    assert_eq!(metadata_bytes(&metadata), all);
    assert!(
        metadata.iter().map(|(key, _)| key).eq(cases.iter().map(|(key, ..)| key)),
        "the order is kept"
    );
}

#[test]
fn a_metadata_block_is_exactly_its_pairs() {
    let bytes = raw_pair("key", 0, &[1]);
    assert!(parse_metadata(&[], 0).unwrap().is_empty());
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(parse_metadata(&longer, 1), Err(GgufError::Trailing { count: 1, .. })));
    assert!(matches!(parse_metadata(&bytes, 0), Err(GgufError::Trailing { .. })));
    assert!(matches!(parse_metadata(&bytes, 2), Err(GgufError::TooMany { found: 2, .. })));
}

fn two_tensors() -> GgufBuilder {
    GgufBuilder::new()
        .pair("general.architecture", "llama")
        .tensor("a", &[64, 3], Encoding::Q4_0, noise(1, 108))
        .tensor("b", &[5], Encoding::F32, noise(2, 20))
}

fn save(builder: &GgufBuilder) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = builder.save(&folder.path().join("model.gguf"));
    (folder, path)
}

#[test]
fn a_file_gives_back_what_was_put_in() {
    for version in [2, 3] {
        for builder in
            [two_tensors(), two_tensors().aligned(64), two_tensors().without_last_padding()]
        {
            let (_folder, path) = save(&builder.version(version));
            let gguf = Gguf::open(&path).unwrap();
            assert_eq!(gguf.version(), version);
            assert_eq!(gguf.metadata().str("general.architecture").unwrap(), Some("llama"));
            let a = gguf.tensor("a").unwrap();
            assert_eq!((a.dims.as_slice(), a.encoding, a.len), (&[64, 3][..], Encoding::Q4_0, 108));
            assert_eq!((a.cols(), a.rows()), (64, 3));
            assert!(gguf.tensors().iter().all(|tensor| tensor.offset % gguf.alignment() == 0));
            assert_eq!(gguf.read(a).unwrap(), noise(1, 108));
            assert_eq!(gguf.read(gguf.tensor("b").unwrap()).unwrap(), noise(2, 20));
            assert_eq!(gguf.tensor("c"), None);
            assert_eq!(gguf.paths().collect::<Vec<_>>(), [path.as_path()]);
        }
    }
}

#[test]
fn positioned_reads_stay_inside_their_tensor() {
    let (_folder, path) = save(&two_tensors());
    let gguf = Gguf::open(&path).unwrap();
    let a = gguf.tensor("a").unwrap();
    let mut bytes = [0; 8];
    gguf.read_at(a, 100, &mut bytes).unwrap();
    assert_eq!(bytes, noise(1, 108)[100..]);
    gguf.read_at(a, 108, &mut []).unwrap();
    for offset in [101, 108, u64::MAX] {
        let error = gguf.read_at(a, offset, &mut bytes).unwrap_err();
        assert!(
            matches!(error.problem(), GgufError::OutsideTensor { tensor_len: 108, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("model.gguf"), "{error}");
        assert!(error.to_string().contains("\"a\""), "{error}");
    }
}

#[test]
fn many_threads_read_at_once() {
    let (_folder, path) = save(&two_tensors());
    let gguf = Gguf::open(&path).unwrap();
    std::thread::scope(|scope| {
        for (name, expected) in [("a", noise(1, 108)), ("b", noise(2, 20)), ("a", noise(1, 108))] {
            let gguf = &gguf;
            scope.spawn(move || {
                for _ in 0..500 {
                    assert_eq!(gguf.read(gguf.tensor(name).unwrap()).unwrap(), expected);
                }
            });
        }
    });
}

#[test]
fn a_file_that_shrinks_after_opening_is_an_error() {
    let (_folder, path) = save(&two_tensors());
    let gguf = Gguf::open(&path).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(64).unwrap();
    let error = gguf.read(gguf.tensor("b").unwrap()).unwrap_err();
    assert!(matches!(error.problem(), GgufError::Io { .. }), "{error}");
}

#[test]
fn tensors_may_lie_in_another_order_than_their_entries() {
    let file = two_tensors().change(|b| b.offset = Some(0)).build();
    // "b" is said to be first; "a" has to follow it.
    let swapped = GgufBuilder::new()
        .tensor("a", &[8], Encoding::F32, noise(1, 32))
        .change(|a| a.offset = Some(32))
        .tensor("b", &[8], Encoding::F32, noise(2, 32))
        .change(|b| b.offset = Some(0))
        .build();
    assert!(parse(&file).is_err(), "both at 0 overlap");
    let header = parse(&swapped).unwrap();
    assert_eq!(header.tensors[0].name, "a");
    assert_eq!(header.tensors[0].offset, header.data_start + 32);
}

#[test]
fn a_file_without_tensors_is_a_vocabulary() {
    let builder = GgufBuilder::new().pair("general.architecture", "llama");
    let header: GgufHeader = parse(&builder.build()).unwrap();
    assert!(header.tensors.is_empty());
    let mut padded = builder.build();
    padded.resize(padded.len().next_multiple_of(32), 0);
    assert!(parse(&padded).is_ok(), "the padding before the data that is not there");
    padded.push(0);
    assert!(parse(&padded).is_ok(), "and what comes after it");
    assert!(parse(&GgufBuilder::new().build()).is_ok(), "24 bytes are a whole file");
}

#[test]
fn the_vocabulary_is_the_rows_of_the_embedding_or_the_size_that_is_named() {
    let tokens =
        |count: usize| Value::Array(Array::String((0..count).map(|i| i.to_string()).collect()));
    let builder = |count: usize| {
        GgufBuilder::new()
            .pair("general.architecture", "llama")
            .pair("tokenizer.ggml.tokens", tokens(count))
            .pair("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0; count])))
            .pair("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![1; count])))
    };
    let embedding = |builder: GgufBuilder| {
        builder.tensor("token_embd.weight", &[8, 4], Encoding::F32, noise(1, 128))
    };
    for good in [
        builder(4),
        embedding(builder(4)),
        builder(4).pair("llama.vocab_size", Value::U32(4)),
        embedding(builder(4)).pair("llama.vocab_size", Value::U32(9)),
        // More types than tokens, as llama.cpp takes them.
        GgufBuilder::new()
            .pair("general.architecture", "llama")
            .pair("tokenizer.ggml.tokens", tokens(4))
            .pair("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![1; 6]))),
    ] {
        let (_folder, path) = save(&good);
        Gguf::open(path).unwrap();
    }
    for bad in [
        embedding(builder(5)),
        embedding(builder(3)),
        builder(4).pair("llama.vocab_size", Value::U32(5)),
    ] {
        let (_folder, path) = save(&bad);
        let error = Gguf::open(path).unwrap_err();
        assert!(matches!(error.problem(), GgufError::Vocabulary { .. }), "{error}");
    }
}

/// Three parts of one model, as `(name, builder)`.
fn three_parts() -> Vec<(String, GgufBuilder)> {
    (0..3_u16)
        .map(|number| {
            let mut builder = GgufBuilder::new();
            if number == 0 {
                builder =
                    builder.pair("general.name", "split").pair("general.architecture", "llama");
            }
            builder = builder
                .pair("split.no", Value::U16(number))
                .pair("split.count", Value::U16(3))
                .pair("split.tensors.count", Value::I32(3))
                .tensor(&format!("t{number}"), &[16], Encoding::F16, noise(number.into(), 32));
            (format!("model-{:05}-of-00003.gguf", number + 1), builder)
        })
        .collect()
}

fn save_parts(parts: &[(String, GgufBuilder)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    parts.iter().for_each(|(name, builder)| drop(builder.save(&folder.path().join(name))));
    folder
}

#[test]
fn any_part_of_a_split_model_opens_all() {
    let parts = three_parts();
    let folder = save_parts(&parts);
    for (name, _) in &parts {
        let gguf = Gguf::open(folder.path().join(name)).unwrap();
        assert_eq!(gguf.paths().len(), 3);
        assert_eq!(gguf.metadata().str("general.name").unwrap(), Some("split"));
        assert!(gguf.metadata().iter().all(|(key, _)| !key.starts_with("split.")));
        for number in 0..3 {
            let tensor = gguf.tensor(&format!("t{number}")).unwrap();
            assert_eq!(tensor.part, number);
            assert_eq!(gguf.read(tensor).unwrap(), noise(number as u64, 32));
        }
    }
}

#[test]
fn missing_parts_are_named() {
    let parts = three_parts();
    let folder = save_parts(&parts[1..2]);
    let error = Gguf::open(folder.path().join(&parts[1].0)).unwrap_err();
    let GgufError::MissingParts { count: 3, missing } = error.problem() else { panic!("{error}") };
    assert_eq!(missing, &[folder.path().join(&parts[0].0), folder.path().join(&parts[2].0)]);
    assert!(error.to_string().contains("model-00001-of-00003.gguf"), "{error}");
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    type Change = fn(&mut Vec<(String, GgufBuilder)>);
    let wrong_number: Change = |parts| parts[2].1 = parts[1].1.clone();
    let whole: Change = |parts| parts[2].1 = GgufBuilder::new();
    let renamed: Change = |parts| parts[1].0 = "other.gguf".to_owned();
    let same_tensor: Change = |parts| {
        let changed = parts[2].1.clone().change(|tensor| tensor.name = b"t1".to_vec());
        parts[2].1 = changed;
    };
    let fewer_tensors: Change = |parts| {
        parts[2].1 =
            GgufBuilder::new().pair("split.no", Value::U16(2)).pair("split.count", Value::U16(3));
    };
    let too_high: Change = |parts| {
        parts[1].1 =
            GgufBuilder::new().pair("split.no", Value::U16(3)).pair("split.count", Value::U16(3));
    };
    let no_number: Change =
        |parts| parts[1].1 = GgufBuilder::new().pair("split.count", Value::U16(3));
    let too_many: Change = |parts| {
        parts[1].1 = GgufBuilder::new()
            .pair("split.no", Value::U16(0))
            .pair("split.count", Value::U32(1 << 20));
    };
    let cases: [(Change, fn(&GgufError) -> bool); 8] = [
        (wrong_number, |e| {
            matches!(e, GgufError::SplitDisagrees { key: "split.no", found: 1, expected: 2 })
        }),
        (whole, |e| {
            matches!(e, GgufError::SplitDisagrees { key: "split.count", found: 1, expected: 3 })
        }),
        (renamed, |e| matches!(e, GgufError::SplitName { number: 2, count: 3, .. })),
        (same_tensor, |e| matches!(e, GgufError::DuplicateTensor { first: 1 })),
        (fewer_tensors, |e| {
            matches!(e, GgufError::SplitDisagrees { key: "split.tensors.count", .. })
        }),
        (too_high, |e| matches!(e, GgufError::SplitNumber { number: 3, count: 3 })),
        (no_number, |e| matches!(e, GgufError::MissingKey { key } if key == "split.no")),
        (too_many, |e| matches!(e, GgufError::OutOfRange { key, .. } if key == "split.count")),
    ];
    for (i, (change, expected)) in cases.into_iter().enumerate() {
        let mut parts = three_parts();
        change(&mut parts);
        let folder = save_parts(&parts);
        let error = Gguf::open(folder.path().join(&parts[1].0)).unwrap_err();
        assert!(expected(error.problem()), "case {i}: {error}");
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("absent.gguf"), folder.path().to_owned()] {
        let error = Gguf::open(&path).unwrap_err();
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }
}
