//! Models without sense are refused with an error that names what is wrong, and leave nothing
//! behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common::tiny::{Random, Tiny, WIDTH};
use pixel_llm::model::convert::convert;
use pixel_llm::model::gguf::{Gguf, GgufString, Value};
use pixel_llm::model::{Encoding, PixelModel};

/// What conversion says to a tiny model after `change`.
fn refusal(architecture: &str, encoding: Encoding, change: impl FnOnce(&mut Tiny)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (gguf, pxi) = (folder.path().join("a.gguf"), folder.path().join("a.pxi"));
    let mut tiny = Tiny::new(architecture, encoding, 1);
    change(&mut tiny);
    tiny.write(&gguf);
    std::fs::write(&pxi, "what stood there").unwrap();
    let error = convert(&Gguf::open(&gguf).unwrap(), &pxi, &|_| ())
        .expect_err("it has no sense")
        .to_string();
    assert_eq!(std::fs::read_to_string(&pxi).unwrap(), "what stood there");
    assert_eq!(folder.path().read_dir().unwrap().count(), 2, "nothing is left behind");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

fn pair_refusal(key: &str, value: Value) -> String {
    refusal("llama", Encoding::Q8_0, |tiny| tiny.set(key, value))
}

#[test]
fn hyperparameters_without_sense_are_named() {
    for (key, value, expected) in [
        ("llama.block_count", Value::U32(1_000_000), "1000000 layers, at most 1024"),
        ("llama.block_count", Value::U32(900), "900 layers need more than the file's 20 tensors"),
        ("llama.block_count", Value::U32(0), "found 0"),
        ("llama.block_count", Value::F32(2.0), "f32"),
        ("llama.attention.head_count", Value::U32(0), "found 0"),
        ("llama.attention.head_count", Value::U32(3), "3 heads do not divide the embedding's 256"),
        ("llama.attention.head_count", Value::I32(-4), "-4"),
        ("llama.attention.head_count_kv", Value::U32(3), "3 KV heads do not divide 4 heads"),
        ("llama.attention.head_count_kv", Value::U32(8), "8 KV heads do not divide 4 heads"),
        (
            "llama.rope.dimension_count",
            Value::U32(66),
            "66, expected an even number up to the head size 64",
        ),
        ("llama.rope.dimension_count", Value::U32(3), "3, expected an even number"),
        ("llama.attention.key_length", Value::U32(65), "head size 65 is odd"),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(f32::NAN), "NaN"),
        ("llama.rope.freq_base", Value::F32(f32::INFINITY), "inf"),
        ("llama.rope.freq_base", Value::F32(0.0), "no positive number"),
        ("llama.rope.scaling.type", Value::String(GgufString::from("longrope")), "longrope"),
        (
            "llama.rope.scaling.type",
            Value::String(GgufString::from("dynamic")),
            "expected none, linear or yarn",
        ),
        ("llama.rope.scaling.factor", Value::F32(-1.0), "-1 is no positive number"),
        ("llama.rope.scaling.factor", Value::F32(f32::NAN), "NaN is no positive number"),
        ("llama.rope.scaling.attn_factor", Value::F32(f32::INFINITY), "inf is no number"),
        ("llama.attention.causal", Value::Bool(false), "tokens that see those after them"),
        ("llama.expert_count", Value::U32(8), "mixtures of experts"),
        ("llama.embedding_length", Value::U32(u32::MAX), "4294967295"),
        ("llama.vocab_size", Value::U32(299), "300 tokens"),
        (
            "general.architecture",
            Value::String(GgufString::from("mamba")),
            "\"mamba\" is not supported",
        ),
    ] {
        let error = pair_refusal(key, value.clone());
        assert!(error.contains(expected), "{key} = {value:?}: {error}");
        assert!(error.contains(key), "{key}: {error}");
    }
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let error = refusal("llama", Encoding::Q8_0, |tiny| {
        tiny.tensors.retain(|(t, _)| t.name != "blk.1.ffn_up.weight")
    });
    assert!(
        error.contains("19 tensors") || error.contains("blk.1.ffn_up.weight: missing"),
        "{error}"
    );
    let error = refusal("qwen2", Encoding::Q8_0, |tiny| {
        tiny.tensors.retain(|(t, _)| t.name != "blk.1.attn_k.bias")
    });
    assert!(error.contains("blk.1.attn_k.bias: missing"), "{error}");
    let error = refusal("qwen3", Encoding::Q8_0, |tiny| {
        tiny.tensors.retain(|(t, _)| !t.name.ends_with("q_norm.weight"))
    });
    assert!(error.contains("attn_q_norm.weight: missing"), "{error}");
    let error = refusal("llama", Encoding::F32, |tiny| {
        tiny.tensor("blk.0.attn_k.weight").0.dims = vec![128, WIDTH]
    });
    assert!(
        error.contains("blk.0.attn_k.weight: dimensions [128, 256], expected [256, 128]"),
        "{error}"
    );
    let error = refusal("llama", Encoding::F32, |tiny| {
        tiny.add(&mut Random(1), "blk.7.attn_norm.weight", &[WIDTH], Encoding::F32);
    });
    assert!(error.contains("blk.7.attn_norm.weight: belongs to a layer beyond the 2"), "{error}");
    let error = refusal("llama", Encoding::F32, |tiny| {
        tiny.add(&mut Random(1), "wide.weight", &[(1 << 20) + 1, 2], Encoding::F16);
    });
    assert!(error.contains("wide.weight: rows of 1048577 columns"), "{error}");
}

#[test]
fn weights_and_scales_that_are_no_numbers_are_named_with_their_row() {
    for encoding in Encoding::ALL {
        for bad in [half::f16::NAN, half::f16::INFINITY] {
            let error = refusal("llama", encoding, |tiny| {
                let row = WIDTH as usize / encoding.block_len() * encoding.block_bytes();
                let bytes = &mut tiny.tensor("blk.1.attn_q.weight").1;
                let block = 77 * row..77 * row + encoding.block_bytes();
                match encoding {
                    Encoding::F32 => bytes[block][..4].copy_from_slice(&bad.to_f32().to_le_bytes()),
                    Encoding::BF16 => bytes[block][..2]
                        .copy_from_slice(&half::bf16::from_f32(bad.to_f32()).to_le_bytes()),
                    _ => bytes[block][encoding.half_floats()[0]..][..2]
                        .copy_from_slice(&bad.to_le_bytes()),
                }
            });
            assert!(error.contains("blk.1.attn_q.weight: row 77 has"), "{encoding} {bad}: {error}");
        }
    }
}

/// A sound model file, to be spoilt. The checksum of the head is made right again, so that the rule
/// itself is tested.
fn spoilt(change: impl FnOnce(&mut Vec<u8>)) -> String {
    use sha2::{Digest, Sha256};
    let folder = tempfile::tempdir().unwrap();
    let (gguf, pxi) = (folder.path().join("a.gguf"), folder.path().join("a.pxi"));
    Tiny::new("llama", Encoding::Q8_0, 1).write(&gguf);
    convert(&Gguf::open(&gguf).unwrap(), &pxi, &|_| ()).unwrap();
    let mut file = std::fs::read(&pxi).unwrap();
    change(&mut file);
    let tiles = u64::from_le_bytes(file[64 + 0xB8..64 + 0xC0].try_into().unwrap()) as usize;
    if let Some(head) = file.get(64..64 + tiles) {
        let mut head = head.to_vec();
        head[0xC8..0xE8].fill(0);
        let checksum = Sha256::digest(&head);
        file[64 + 0xC8..64 + 0xE8].copy_from_slice(&checksum);
    }
    std::fs::write(&pxi, &file).unwrap();
    let error = PixelModel::open(&pxi).expect_err("the file contradicts itself").to_string();
    assert!(error.contains("a.pxi") && error.lines().count() == 1, "{error}");
    error
}

#[test]
fn a_head_that_contradicts_itself_is_refused() {
    let put = |at: usize, bytes: &'static [u8]| {
        spoilt(move |file| file[64 + at..][..bytes.len()].copy_from_slice(bytes))
    };
    for (at, bytes, expected) in [
        (0x00, &b"PXIN"[..], "magic"),
        (0x04, &[2], "version: found 2.1, expected 1.0 or 1.1"),
        (0x2A, &[128], "tile_size: found 128, expected 64"),
        (0x28, &[77], "weight_encoding: found 77"),
        (0x10, &[1, 2, 3], "header byte 0x1"),
        (0x18, &[0, 0, 0, 0xFF], "header byte 0x1"),
        (0x34, &[0xAA; 32], "root"),
        (0x67, &[0x40], "header byte 0x67"),
        (0x67, &[0xFF], "flags: found an adapter, expected a model"),
        (0x78, &[0xFF, 0xFF, 0xFF, 0xFF], "tensor_count"),
        (0x7C, &[0xFF, 0xFF, 0xFF, 0xFF], "sections"),
        (0x80, &[0xFF; 8], "pair count"),
        (0x88, &[0xFF; 8], "sections"),
        (0x90, &[0xFF; 8], "sections"),
        (0xA0, &[0xFF; 8], "sections"),
        (0xC0, &[0xFF; 8], "sections"),
        (0xE8, &[1], "header byte 0xe8"),
    ] {
        let error = put(at, bytes);
        assert!(error.contains(expected), "{at:#x}: {error}");
    }
}

#[test]
fn a_table_that_disagrees_with_the_tiles_is_refused() {
    // The first record: name size 17, dimensions 2, matrix, Q8_0, then the columns.
    let table = |file: &[u8]| {
        64 + u64::from_le_bytes(file[64 + 0x98..64 + 0xA0].try_into().unwrap()) as usize
    };
    for (at, value, expected) in [
        (0usize, 0u8, "tensor 1: found the table's end"),
        (2, 5, "5 dimensions, expected 1 to 4"),
        (3, 1, "tensor table"),
        (4, 99, "GGML type 99"),
        (8, 1, "do not fit Q8_0 blocks"),
        (40, 1, "tensor table"),
        (44, 1, "tensor table"),
        (72, b'T', "token_embd.weight: missing"),
    ] {
        let error = spoilt(|file| {
            let start = table(file);
            file[start + at] = value;
        });
        assert!(error.contains(expected), "record byte {at}: {error}");
    }
    let error = spoilt(|file| {
        let tiles = u64::from_le_bytes(file[64 + 0xA8..64 + 0xB0].try_into().unwrap()) as usize;
        file[64 + tiles] ^= 1;
    });
    assert!(error.contains("root"), "{error}");
}

#[test]
fn a_file_cut_short_is_refused_wherever_it_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (gguf, pxi) = (folder.path().join("a.gguf"), folder.path().join("a.pxi"));
    Tiny::new("llama", Encoding::Q8_0, 1).write(&gguf);
    convert(&Gguf::open(&gguf).unwrap(), &pxi, &|_| ()).unwrap();
    let whole = std::fs::read(&pxi).unwrap();
    let mut random = Random(5);
    let cuts = (0..=64).chain((0..40).map(|_| random.below(whole.len() as u64) as usize));
    for keep in cuts.map(|cut| whole.len() - 1 - cut.min(whole.len() - 1)) {
        std::fs::write(&pxi, &whole[..keep]).unwrap();
        let error = PixelModel::open(&pxi).expect_err("it is cut short").to_string();
        assert!(error.contains("a.pxi"), "{error}");
    }
}
