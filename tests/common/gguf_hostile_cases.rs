//! The hostile GGUF files of the tests: each is a valid file with one thing wrong.

use pixel_llm::model::Encoding;
use pixel_llm::model::gguf::{Array, GgufError, Value};

use super::gguf_builder::{GgufBuilder, RawTensor, noise, raw_pair, string};

/// A file, the error it must give, and words that the message must hold.
pub struct Case {
    pub name: &'static str,
    pub file: Vec<u8>,
    pub expected: fn(&GgufError) -> bool,
    pub words: &'static [&'static str],
}

/// A small valid model: a vocabulary of 4, tensors of several encodings.
pub fn valid() -> GgufBuilder {
    pairs()
        .tensor("token_embd.weight", &[32, 4], Encoding::Q8_0, noise(1, 136))
        .tensor("blk.0.attn_q.weight", &[32, 2], Encoding::Q4_1, noise(2, 40))
        .tensor("output_norm.weight", &[32], Encoding::F32, noise(3, 128))
}

fn pairs() -> GgufBuilder {
    GgufBuilder::new()
        .pair("general.architecture", "llama")
        .pair("llama.context_length", Value::U32(64))
        .pair(
            "tokenizer.ggml.tokens",
            Value::Array(Array::String(["a", "b", "c", "d"].into_iter().collect())),
        )
        .pair("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0; 4])))
        .pair("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![1; 4])))
}

/// A case from what differs.
macro_rules! case {
    ($name:literal, $file:expr, $pattern:pat $(if $guard:expr)?, [$($word:literal),* $(,)?]) => {
        Case {
            name: $name,
            file: $file.build(),
            expected: |error| matches!(error, $pattern $(if $guard)?),
            words: &[$($word),*],
        }
    };
}

pub fn cases() -> Vec<Case> {
    [header(), pair_cases(), list_cases(), tensor_cases(), place_cases()]
        .into_iter()
        .flatten()
        .collect()
}

fn header() -> Vec<Case> {
    use GgufError::{BigEndian, Magic, TooMany, Truncated, Version};
    vec![
        Case {
            name: "empty file",
            file: Vec::new(),
            expected: |error| {
                matches!(error, Truncated { field: "magic", needed: 4, remaining: 0, .. })
            },
            words: &["magic", "4 bytes"],
        },
        case!(
            "bad magic",
            valid().magic(b"GGML"),
            Magic { found } if found == b"GGML",
            ["magic", "GGML", "GGUF"]
        ),
        case!("magic of a zip", valid().magic(b"PK\x03\x04"), Magic { .. }, ["magic", "PK\\"]),
        case!("version 0", valid().version(0), Version { found: 0 }, ["version", "found 0"]),
        case!(
            "version 1",
            valid().version(1),
            Version { found: 1 },
            ["version", "found 1", "2 and 3"]
        ),
        case!("version 4", valid().version(4), Version { found: 4 }, ["version", "found 4"]),
        case!(
            "version of the future",
            valid().version(u32::MAX),
            Version { .. },
            ["version", "4294967295"]
        ),
        case!(
            "byte-swapped version",
            valid().version(3_u32.swap_bytes()),
            BigEndian { .. },
            ["version", "big-endian"]
        ),
        case!(
            "2^64-1 tensors",
            valid().tensor_count(u64::MAX),
            TooMany { field: "tensor count", found: u64::MAX, .. },
            ["tensor count", "18446744073709551615"]
        ),
        case!(
            "2^64-1 pairs",
            valid().pair_count(u64::MAX),
            TooMany { field: "pair count", found: u64::MAX, .. },
            ["pair count", "18446744073709551615"]
        ),
        case!(
            "more tensors than bytes",
            valid().tensor_count(40),
            TooMany { field: "tensor count", .. },
            ["40"]
        ),
        case!(
            "more pairs than bytes",
            valid().pair_count(100),
            TooMany { field: "pair count", .. },
            ["100"]
        ),
    ]
}

fn pair_cases() -> Vec<Case> {
    use GgufError::{
        Alignment, DuplicateKey, Empty, NestedArray, NotBool, NotUtf8, TooLong, TooMany, Truncated,
        UnknownValueType, WrongType,
    };
    let key_of = |length: u64| [&length.to_le_bytes()[..], b"key"].concat();
    let array = |element_type: u32, count: u64, bytes: &[u8]| {
        let value = [&element_type.to_le_bytes()[..], &count.to_le_bytes(), bytes].concat();
        valid().raw_pair(raw_pair("list", 9, &value))
    };
    let alignment = |value: Value| valid().pair("general.alignment", value);
    vec![
        case!(
            "key of 2^64-1 bytes",
            valid().raw_pair(key_of(u64::MAX)),
            TooLong { field: "key", found: u64::MAX, .. },
            ["pair 5", "key"]
        ),
        case!(
            "key of 2^16 bytes",
            valid().raw_pair(key_of(1 << 16)),
            TooLong { field: "key", .. },
            ["65535"]
        ),
        case!(
            "key past the end",
            valid().raw_pair(key_of(60_000)),
            Truncated { field: "key", .. },
            ["60000 bytes"]
        ),
        case!(
            "empty key",
            valid().raw_pair(raw_pair("", 0, &[1])),
            Empty { field: "key" },
            ["pair 5", "key"]
        ),
        case!(
            "key that is not text",
            valid().raw_pair(raw_pair(b"\xff\xfe", 0, &[1])),
            NotUtf8 { field: "key", .. },
            ["pair 5", "UTF-8"]
        ),
        case!(
            "unknown value type",
            valid().raw_pair(raw_pair("odd", 13, &[1])),
            UnknownValueType { found: 13, .. },
            ["\"odd\"", "value type", "13"]
        ),
        case!(
            "value type 2^32-1",
            valid().raw_pair(raw_pair("odd", u32::MAX, &[])),
            UnknownValueType { .. },
            ["odd"]
        ),
        case!(
            "array of arrays",
            array(9, 1, &[0; 12]),
            NestedArray,
            ["\"list\"", "array of arrays"]
        ),
        case!(
            "array of an unknown type",
            array(13, 1, &[0]),
            UnknownValueType { field: "array element type", .. },
            ["list"]
        ),
        case!("array of 2^63 bytes", array(0, 1 << 63, &[]), 
            TooMany { field: "array length", found, .. }
            if *found == 1 << 63, ["\"list\"", "array length", "9223372036854775808"]),
        case!(
            "array of 2^63 strings",
            array(8, 1 << 63, &[]),
            TooMany { field: "array length", .. },
            ["list"]
        ),
        case!(
            "array of 2^61 u64, whose bytes overflow",
            array(10, 1 << 61, &[]),
            TooMany { .. },
            ["list"]
        ),
        // Sizes that a machine would grant, where the ones above would abort.
        case!(
            "array of 2^22 u64",
            array(10, 1 << 22, &[]),
            TooMany { found: 4_194_304, .. },
            ["list"]
        ),
        case!(
            "array of 2^22 strings",
            array(8, 1 << 22, &[]),
            TooMany { found: 4_194_304, .. },
            ["list"]
        ),
        case!(
            "string of 2^24 bytes",
            valid().raw_pair(raw_pair("text", 8, &(1_u64 << 24).to_le_bytes())),
            Truncated { field: "value", needed: 16_777_216, .. },
            ["text"]
        ),
        case!("array of more u64 than bytes", array(10, 200, &[]), TooMany { .. }, ["list", "200"]),
        case!(
            "array of more strings than bytes",
            array(8, 100, &[]),
            TooMany { .. },
            ["list", "100"]
        ),
        case!(
            "array string past the end",
            array(8, 1, &u64::MAX.to_le_bytes()),
            Truncated { field: "array element", .. },
            ["list", "array element"]
        ),
        case!(
            "string past the end",
            valid().raw_pair(raw_pair("text", 8, &u64::MAX.to_le_bytes())),
            Truncated { field: "value", needed: u64::MAX, .. },
            ["\"text\"", "value", "18446744073709551615"]
        ),
        case!(
            "string a little past the end",
            valid().raw_pair(raw_pair("text", 8, &4096_u64.to_le_bytes())),
            Truncated { field: "value", needed: 4096, .. },
            ["\"text\"", "4096"]
        ),
        case!(
            "bool of 2",
            valid().raw_pair(raw_pair("flag", 7, &[2])),
            NotBool { found: 2, .. },
            ["\"flag\"", "2"]
        ),
        case!(
            "array with a bool of 2",
            array(7, 2, &[1, 2]),
            NotBool { found: 2, .. },
            ["\"list\""]
        ),
        case!(
            "duplicate key",
            valid().pair("llama.context_length", Value::U32(1)),
            DuplicateKey { first: 1, .. },
            ["pair 5", "llama.context_length", "pair 1"]
        ),
        case!(
            "alignment 0",
            alignment(Value::U32(0)),
            Alignment { found: 0 },
            ["general.alignment", "found 0"]
        ),
        case!(
            "alignment 1",
            alignment(Value::U32(1)),
            Alignment { found: 1 },
            ["general.alignment"]
        ),
        case!(
            "alignment 13",
            alignment(Value::U32(13)),
            Alignment { found: 13 },
            ["general.alignment", "found 13"]
        ),
        case!(
            "alignment 2^30",
            alignment(Value::U32(1 << 30)),
            Alignment { .. },
            ["general.alignment", "1073741824"]
        ),
        case!(
            "alignment as a u64",
            alignment(Value::U64(32)),
            WrongType { .. },
            ["general.alignment", "u64", "u32"]
        ),
        case!(
            "alignment as text",
            alignment("32".into()),
            WrongType { .. },
            ["general.alignment", "string", "u32"]
        ),
    ]
}

/// The lists of the tokenizer.
fn list_cases() -> Vec<Case> {
    use GgufError::{Vocabulary, WrongElement, WrongType};
    let with = |key: &str, value: Value| {
        GgufBuilder::new().pair("general.architecture", "llama").pair(key, value).tensor(
            "token_embd.weight",
            &[32, 4],
            Encoding::Q8_0,
            noise(1, 136),
        )
    };
    let words = |words: &[&str]| Value::Array(Array::String(words.iter().collect()));
    vec![
        case!(
            "scores as u8",
            with("tokenizer.ggml.scores", Value::Array(Array::U8(vec![0; 4]))),
            WrongElement { .. },
            ["tokenizer.ggml.scores", "u8", "f32"]
        ),
        case!(
            "too few scores",
            with("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0; 3]))),
            Vocabulary { found: 3, expected: 4, .. },
            ["tokenizer.ggml.scores", "found 3", "has 4"]
        ),
        case!(
            "tokens as numbers",
            with("tokenizer.ggml.tokens", Value::Array(Array::I32(vec![0; 4]))),
            WrongElement { .. },
            ["tokenizer.ggml.tokens", "i32", "string"]
        ),
        case!(
            "tokens as one text",
            with("tokenizer.ggml.tokens", "abcd".into()),
            WrongType { .. },
            ["tokenizer.ggml.tokens", "string", "array"]
        ),
        case!(
            "too few tokens",
            with("tokenizer.ggml.tokens", words(&["a", "b", "c"])),
            Vocabulary { found: 3, expected: 4, .. },
            ["tokenizer.ggml.tokens", "token_embd.weight"]
        ),
        case!(
            "too many tokens",
            with("tokenizer.ggml.tokens", words(&["a", "b", "c", "d", "e"])),
            Vocabulary { found: 5, expected: 4, .. },
            ["tokenizer.ggml.tokens"]
        ),
        case!(
            "token types as floats",
            with("tokenizer.ggml.token_type", Value::Array(Array::F32(vec![0.0; 4]))),
            WrongElement { .. },
            ["tokenizer.ggml.token_type", "f32"]
        ),
        case!(
            "too few token types",
            with("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![1; 3]))),
            Vocabulary { found: 3, expected: 4, .. },
            ["tokenizer.ggml.token_type"]
        ),
    ]
}

fn tensor_cases() -> Vec<Case> {
    use GgufError::{
        Dimension, DimensionCount, DuplicateTensor, Empty, NotUtf8, PartBlock, SizeOverflow,
        TooLong, Truncated, UnknownEncoding,
    };
    let named = |name: &[u8]| {
        let name = name.to_vec();
        valid().change(|tensor| tensor.name = name)
    };
    let shaped = |dims: &[u64], encoding: Encoding| {
        let dims = dims.to_vec();
        valid().change(|tensor| {
            tensor.dims = dims;
            tensor.ggml_type = encoding.ggml();
        })
    };
    let typed = |number: u32| valid().change(|tensor| tensor.ggml_type = number);
    // The name's length is a lie: the builder's own fields follow it.
    let lying_name = || {
        let mut builder = valid().build();
        let at = builder
            .windows(18)
            .rposition(|window| window == b"output_norm.weight")
            .expect("the name is there");
        builder[at - 8..at].copy_from_slice(&u64::MAX.to_le_bytes());
        builder
    };
    vec![
        case!(
            "name of 65 bytes",
            named(&[b'n'; 65]),
            TooLong { field: "name", found: 65, limit: 64 },
            ["tensor 2", "name"]
        ),
        Case {
            name: "name of 2^64-1 bytes",
            file: lying_name(),
            expected: |error| matches!(error, TooLong { field: "name", found: u64::MAX, .. }),
            words: &["tensor 2", "name"],
        },
        case!("empty name", named(b""), Empty { field: "name" }, ["tensor 2", "name"]),
        case!(
            "name that is not text",
            named(b"\xc0\xaf"),
            NotUtf8 { field: "name", .. },
            ["tensor 2", "UTF-8"]
        ),
        case!(
            "no dimensions",
            shaped(&[], Encoding::F32),
            DimensionCount { found: 0 },
            ["output_norm.weight", "dimensions"]
        ),
        case!(
            "5 dimensions",
            shaped(&[32, 1, 1, 1, 1], Encoding::F32),
            DimensionCount { found: 5 },
            ["output_norm.weight", "dimensions", "found 5", "1 to 4"]
        ),
        case!(
            "zero dimension",
            shaped(&[32, 0], Encoding::F32),
            Dimension { axis: 1, found: 0 },
            ["output_norm.weight", "dimension 1", "found 0"]
        ),
        case!(
            "negative dimension",
            shaped(&[u64::MAX], Encoding::F32),
            Dimension { axis: 0, found: -1 },
            ["found -1"]
        ),
        case!(
            "least dimension",
            shaped(&[32, 1 << 63], Encoding::F32),
            Dimension { axis: 1, found: i64::MIN },
            ["dimension 1"]
        ),
        case!(
            "product that overflows 64 bits",
            shaped(&[1 << 32, 1 << 32], Encoding::F32),
            SizeOverflow { .. },
            ["4294967296"]
        ),
        case!(
            "product that overflows to something small",
            shaped(&[(1 << 62) + 32, 4], Encoding::Q4_0),
            SizeOverflow { .. },
            ["dimensions"]
        ),
        case!(
            "product that overflows 63 bits",
            shaped(&[1 << 32, 1 << 31], Encoding::Q4_0),
            SizeOverflow { .. },
            ["63 bits"]
        ),
        case!(
            "bytes that overflow",
            shaped(&[1 << 61, 2], Encoding::F32),
            SizeOverflow { .. },
            ["dimensions"]
        ),
        case!(
            "bytes of one row that overflow",
            shaped(&[i64::MAX as u64], Encoding::F32),
            SizeOverflow { .. },
            ["dimensions"]
        ),
        case!(
            "unknown type",
            typed(9999),
            UnknownEncoding { found: 9999 },
            ["output_norm.weight", "type", "9999"]
        ),
        case!("type that was removed", typed(4), UnknownEncoding { found: 4 }, ["type"]),
        case!("type that is not read", typed(10), UnknownEncoding { found: 10 }, ["Q2_K", "Q4_K"]),
        case!(
            "row of part blocks",
            shaped(&[33], Encoding::Q4_0),
            PartBlock { cols: 33, .. },
            ["output_norm.weight", "dimension 0", "33", "32", "Q4_0"]
        ),
        case!(
            "row of part blocks of 256",
            shaped(&[128, 2], Encoding::Q6_K),
            PartBlock { cols: 128, .. },
            ["256", "Q6_K"]
        ),
        case!(
            "duplicate name",
            named(b"token_embd.weight"),
            DuplicateTensor { first: 0 },
            ["tensor 2", "token_embd.weight"]
        ),
        case!(
            "one tensor more than there is",
            valid().tensor_count(4),
            Truncated { .. } | TooLong { .. } | Empty { .. } | NotUtf8 { .. },
            ["tensor 3"]
        ),
        case!(
            "a string for a tensor",
            valid().raw_pair(string("x")).pair_count(5),
            DimensionCount { .. } | Dimension { .. } | TooLong { .. } | UnknownEncoding { .. },
            ["tensor 0"]
        ),
    ]
}

/// Where the tensors lie.
fn place_cases() -> Vec<Case> {
    use GgufError::{Gap, Overlap, PastEnd, Unaligned};
    let at = |offset: u64| valid().change(|tensor| tensor.offset = Some(offset));
    // The embedding takes 136 bytes, padded 160; the query 40, padded 64; so the norm is at 224.
    let extra = |name: &str, offset: u64| {
        valid().raw_tensor(RawTensor {
            name: name.as_bytes().to_vec(),
            dims: vec![8],
            ggml_type: Encoding::F32.ggml(),
            offset: Some(offset),
            bytes: noise(9, 32),
        })
    };
    vec![
        case!(
            "unaligned offset",
            at(225),
            Unaligned { alignment: 32, .. } | PastEnd { .. },
            ["output_norm.weight", "offset"]
        ),
        case!(
            "unaligned offset inside the file",
            at(208),
            Unaligned { alignment: 32, .. },
            ["output_norm.weight", "32"]
        ),
        case!(
            "offset past the end",
            at(256),
            PastEnd { .. },
            ["output_norm.weight", "offset", "past"]
        ),
        case!(
            "offset 2^64-32, whose sum overflows",
            at(u64::MAX - 31),
            PastEnd { .. },
            ["output_norm.weight", "offset"]
        ),
        case!("offset 2^63", at(1 << 63), PastEnd { .. }, ["output_norm.weight", "offset"]),
        case!(
            "overlap with the tensor before",
            at(192),
            Overlap { .. },
            ["output_norm.weight", "blk.0.attn_q.weight"]
        ),
        case!("all at one place", at(0), Overlap { .. }, ["overlaps"]),
        case!(
            "gap",
            extra("late", 384).raw_tensor(RawTensor {
                name: b"later".to_vec(),
                dims: vec![8],
                ggml_type: 0,
                offset: Some(416),
                bytes: noise(9, 96),
            }),
            Gap { .. },
            ["late", "offset", "gap of 32 bytes"]
        ),
        case!(
            "gap before the first",
            GgufBuilder::new()
                .tensor("only", &[8], Encoding::F32, noise(9, 64))
                .change(|tensor| tensor.offset = Some(32)),
            Gap { .. },
            ["only", "gap of 32 bytes"]
        ),
        case!(
            "data truncated",
            valid().change(|tensor| tensor.bytes = noise(3, 96)),
            PastEnd { .. },
            ["output_norm.weight", "past"]
        ),
        case!(
            "no data",
            valid().change(|tensor| tensor.bytes.clear()),
            PastEnd { .. },
            ["output_norm.weight"]
        ),
        case!(
            "sizes whose sum overflows",
            GgufBuilder::new()
                .raw_tensor(RawTensor {
                    name: b"a".to_vec(),
                    dims: vec![1 << 60],
                    ggml_type: 0,
                    offset: Some(0),
                    bytes: vec![]
                })
                .raw_tensor(RawTensor {
                    name: b"b".to_vec(),
                    dims: vec![1 << 60],
                    ggml_type: 0,
                    offset: Some(1 << 62),
                    bytes: vec![]
                })
                .raw_tensor(RawTensor {
                    name: b"c".to_vec(),
                    dims: vec![1 << 60],
                    ggml_type: 0,
                    offset: Some(1 << 63),
                    bytes: vec![]
                })
                .raw_tensor(RawTensor {
                    name: b"d".to_vec(),
                    dims: vec![1 << 60],
                    ggml_type: 0,
                    offset: Some(3 << 62),
                    bytes: vec![]
                }),
            PastEnd { .. },
            ["\"a\"", "past"]
        ),
    ]
}
