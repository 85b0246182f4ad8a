//! Adapters as GGUF files: written and read again, refused by name where they make no sense.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use crate::common::gguf_builder::GgufBuilder;
use crate::common::tiny::{Random, Tiny};
use pixel_llm::model::adapter::TARGETS;
use pixel_llm::model::adapter::pixels::{AdapterPixels, convert_adapter};
use pixel_llm::model::convert::convert;
use pixel_llm::model::gguf::{Gguf, Value};
use pixel_llm::model::{Adapter, Architecture, Encoding, LowRank, PixelModel};

/// Numbers around zero that a half holds exactly.
fn numbers(random: &mut Random, count: usize) -> Vec<f32> {
    (0..count).map(|_| (random.below(2048) as f32 - 1024.0) / 4096.0).collect()
}

/// An adapter for the matrices of a tiny model of the llama family, of two ranks.
pub fn adapter(layers: usize) -> Adapter {
    let mut random = Random(3);
    let mut updates = Vec::new();
    for layer in 0..layers {
        for (at, name) in TARGETS.into_iter().enumerate() {
            let [outputs, inputs] = match name {
                "attn_k" | "attn_v" => [128, 256],
                "ffn_gate" | "ffn_up" => [512, 256],
                "ffn_down" => [256, 512],
                _ => [256, 256],
            };
            let rank = if at == 0 { 3 } else { 8 };
            updates.push(LowRank {
                tensor: format!("blk.{layer}.{name}.weight"),
                inputs,
                outputs,
                rank,
                a: numbers(&mut random, rank * inputs),
                b: numbers(&mut random, outputs * rank),
            });
        }
    }
    Adapter {
        architecture: Architecture::Llama,
        alpha: 16.0,
        updates,
        base: None,
        run: Some("seed 0".to_owned()),
    }
}

/// The model that [`adapter`] fits.
pub fn tiny_model(folder: &Path) -> PixelModel {
    let (gguf, pxi) = (folder.join("m.gguf"), folder.join("m.pxi"));
    Tiny::new("llama", Encoding::Q8_0, 1).write(&gguf);
    convert(&Gguf::open(&gguf).unwrap(), &pxi, &|_| ()).unwrap();
    PixelModel::open(&pxi).unwrap()
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    for encoding in [Encoding::F32, Encoding::F16] {
        for (alpha, base, run) in
            [(16.0, None, None), (0.0, Some([0xA5; 32]), Some("x \"y\"\n".to_owned()))]
        {
            let adapter = Adapter { alpha, base, run, ..adapter(2) };
            adapter.write(&path, encoding).unwrap();
            assert_eq!(Adapter::read(&path).unwrap(), adapter, "{encoding}");
            let first = std::fs::read(&path).unwrap();
            adapter.write(&path, encoding).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), first, "the same bytes");
        }
    }
    let q4 = adapter(1).write(&path, Encoding::Q4_0).unwrap_err().to_string();
    assert!(q4.contains("not Q4_0"), "{q4}");
}

#[test]
fn the_file_is_as_llama_cpps_converter_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    let adapter = Adapter { base: Some([0xA5; 32]), ..adapter(1) };
    adapter.write(&path, Encoding::F32).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    let metadata = gguf.metadata();
    assert_eq!(metadata.str("general.architecture").unwrap(), Some("llama"));
    assert_eq!(metadata.str("general.type").unwrap(), Some("adapter"));
    assert_eq!(metadata.str("adapter.type").unwrap(), Some("lora"));
    assert_eq!(metadata.get("adapter.lora.alpha"), Some(&Value::F32(16.0)));
    assert_eq!(metadata.str("pixel_llm.base.root").unwrap(), Some(&*"a5".repeat(32)));
    assert_eq!(metadata.str("pixel_llm.run").unwrap(), Some("seed 0"));
    assert_eq!(gguf.tensor("blk.0.ffn_down.weight.lora_a").unwrap().dims, [512, 8]);
    assert_eq!(gguf.tensor("blk.0.ffn_down.weight.lora_b").unwrap().dims, [8, 256]);
    assert_eq!(gguf.tensors().len(), 14);
    // The factor of the update: alpha by the rank, and 1 without alpha.
    assert_eq!(adapter.scale(&adapter.updates[0]), 16.0 / 3.0);
    assert_eq!(Adapter { alpha: 0.0, ..adapter.clone() }.scale(&adapter.updates[0]), 1.0);
}

#[test]
fn numbers_that_do_not_fit_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    for (number, encoding) in [(1e30, Encoding::F16), (f32::NAN, Encoding::F32)] {
        let mut adapter = adapter(1);
        adapter.updates[2].b[7] = number;
        let error = adapter.write(&path, encoding).unwrap_err().to_string();
        assert!(error.contains("attn_v.weight.lora_b") && error.contains(encoding.name()));
        assert!(!path.exists(), "nothing is left");
    }
}

/// A small adapter's file, before what is wrong with it.
fn builder() -> GgufBuilder {
    GgufBuilder::new()
        .pair("general.architecture", "llama")
        .pair("general.type", "adapter")
        .pair("adapter.type", "lora")
        .pair("adapter.lora.alpha", Value::F32(2.0))
}

fn half(builder: GgufBuilder, name: &str, dims: [u64; 2]) -> GgufBuilder {
    let bytes = vec![0; (dims[0] * dims[1] * 4) as usize];
    builder.tensor(name, &dims, Encoding::F32, bytes)
}

fn refusal(builder: &GgufBuilder) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("bad.gguf");
    builder.save(&path);
    let error = Adapter::read(&path).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("bad.gguf"), "{error}");
    error
}

#[test]
fn other_kinds_of_files_are_refused_by_name() {
    let pairs = |pairs: &[(&str, Value)]| {
        pairs
            .iter()
            .fold(GgufBuilder::new(), |builder, (key, value)| builder.pair(key, value.clone()))
    };
    let (architecture, of_type) = ("general.architecture", "general.type");
    for (builder, expected) in [
        (pairs(&[(architecture, "llama".into())]), "found \"model\", expected \"adapter\""),
        (pairs(&[(of_type, "adapter".into())]), "expected \"lora\""),
        (
            pairs(&[(of_type, "adapter".into()), ("adapter.type", "control_vector".into())]),
            "\"control_vector\"",
        ),
        (
            pairs(&[
                (architecture, "mamba".into()),
                (of_type, "adapter".into()),
                ("adapter.type", "lora".into()),
            ]),
            "\"mamba\" is not supported",
        ),
        (builder().pair("adapter.alora.invocation_tokens", Value::U32(1)), "adapter.alora."),
        (builder(), "no tensors"),
        (builder().pair("pixel_llm.base.root", "abc"), "no hash of 64 hex digits"),
        (builder().pair("pixel_llm.run", Value::U32(1)), "pixel_llm.run"),
    ] {
        let error = refusal(&builder);
        assert!(error.contains(expected), "{error}");
    }
    let mut text = GgufBuilder::new()
        .pair("general.architecture", "llama")
        .pair("general.type", "adapter")
        .pair("adapter.type", "lora")
        .pair("adapter.lora.alpha", Value::F32(f32::NAN));
    text = half(text, "blk.0.attn_q.weight.lora_a", [8, 2]);
    assert!(refusal(&text).contains("adapter.lora.alpha: NaN"));
}

#[test]
fn tensors_without_sense_are_refused_by_name() {
    let (a, b) = ("blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b");
    let pair = || half(half(builder(), a, [8, 2]), b, [2, 8]);
    for (builder, name, expected) in [
        (half(builder(), a, [8, 2]), a, "lora_b is missing"),
        (half(builder(), b, [2, 8]), b, "lora_a is missing"),
        (half(half(builder(), a, [8, 2]), b, [3, 8]), b, "rank 3, but"),
        (half(half(builder(), a, [8, 1025]), b, [1025, 8]), a, "rank 1025, at most 1024"),
        (builder().tensor(a, &[8], Encoding::F32, vec![0; 32]), a, "is missing"),
        (half(pair(), "blk.0.attn_norm.weight", [8, 1]), "blk.0.attn_norm.weight", "norm"),
        (half(pair(), "token_embd.weight.lora_a", [8, 2]), "token_embd", "token embedding"),
        (half(pair(), "output.weight.lora_b", [8, 2]), "output.weight", "output matrix"),
        (half(pair(), "blk.0.attn_q.weight", [8, 2]), "blk.0.attn_q.weight", "is unknown"),
        (half(pair(), "blk.00.attn_q.weight.lora_a", [8, 2]), "blk.00", "does not name"),
        (half(pair(), "blk.0.ssm_in.weight.lora_a", [8, 2]), "ssm_in", "does not name"),
        (half(pair(), "blk.0.attn_q.lora_magnitude_vector", [8, 1]), "attn_q", "DoRA"),
    ] {
        let error = refusal(&builder);
        assert!(error.contains(expected) && error.contains(name), "{error}");
    }
    for number in [f32::NAN, f32::INFINITY] {
        let mut bytes = vec![0; 64];
        bytes[20..24].copy_from_slice(&number.to_le_bytes());
        let error = refusal(&half(builder(), b, [2, 8]).tensor(a, &[8, 2], Encoding::F32, bytes));
        assert!(error.contains("number 5") && error.contains(a), "{error}");
    }
    let flat = builder().tensor(a, &[16], Encoding::F32, vec![0; 64]);
    assert!(refusal(&half(flat, b, [2, 8])).contains("1 dimensions, expected 2"));
}

#[test]
fn cut_and_flipped_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    let whole = half(
        half(builder(), "blk.0.attn_q.weight.lora_a", [8, 2]),
        "blk.0.attn_q.weight.lora_b",
        [2, 8],
    )
    .build();
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(Adapter::read(&path).is_err(), "cut at {cut}");
    }
    for at in 0..whole.len() {
        for bit in [0, 3, 7] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            // Some flips make another sound file; none may panic or give numbers that are none.
            if let Ok(adapter) = Adapter::read(&path) {
                let numbers = adapter.updates.iter().flat_map(|update| [&update.a, &update.b]);
                assert!(numbers.flatten().all(|number| number.is_finite()), "byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn an_adapter_is_checked_against_its_model() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model(folder.path());
    let root = model.header().root;
    adapter(2).check(&model, false).unwrap();
    Adapter { base: Some(root), ..adapter(2) }.check(&model, false).unwrap();
    let other = Adapter { base: Some([7; 32]), ..adapter(2) };
    let error = other.check(&model, false).unwrap_err().to_string();
    assert!(error.contains(&"07".repeat(32)) && error.contains("--lora-any-base"), "{error}");
    other.check(&model, true).unwrap();

    let error = adapter(3).check(&model, true).unwrap_err().to_string();
    assert!(error.contains("blk.2.attn_q.weight, which the model does not have"), "{error}");
    let mut wide = adapter(1);
    wide.updates[1].outputs = 256;
    let error = wide.check(&model, true).unwrap_err().to_string();
    assert!(error.contains("blk.0.attn_k.weight of 256 x 256, which is 128 x 256"), "{error}");
    let qwen = Adapter { architecture: Architecture::Qwen3, ..adapter(1) };
    let error = qwen.check(&model, true).unwrap_err().to_string();
    assert!(error.contains("the qwen3 family, not llama"), "{error}");
}

#[test]
fn an_adapter_becomes_pixels_and_comes_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for encoding in [Encoding::F32, Encoding::F16] {
        let mut adapter = Adapter { base: Some([0xA5; 32]), ..adapter(2) };
        adapter.updates[3].rank = 1;
        adapter.updates[3].a.truncate(256);
        adapter.updates[3].b.truncate(256);
        adapter.write(at("a.gguf"), encoding).unwrap();
        convert_adapter(&Gguf::open(at("a.gguf")).unwrap(), at("a.pxi"), &|_| ()).unwrap();
        pixel_llm::pxi::PxiFile::open(at("a.pxi")).unwrap().verify().unwrap();
        AdapterPixels::open(&at("a.pxi")).unwrap().export(at("b.gguf")).unwrap();
        let bytes = |name: &str| std::fs::read(at(name)).unwrap();
        assert!(bytes("a.gguf") == bytes("b.gguf"), "{encoding}");
        assert_eq!(Adapter::read(&at("a.pxi")).unwrap(), adapter);
    }
    let error = PixelModel::open(&at("a.pxi")).unwrap_err().to_string();
    assert!(error.contains("this file holds an adapter; name it by --lora"), "{error}");
    let whole = std::fs::read(at("a.pxi")).unwrap();
    let mut random = Random(9);
    for _ in 0..200 {
        let mut bytes = whole.clone();
        let place = random.below(whole.len() as u64) as usize;
        bytes[place] ^= 1 << random.below(8);
        std::fs::write(at("bad.pxi"), &bytes).unwrap();
        // What fills the last row of the picture belongs to nothing.
        if let Ok(read) = Adapter::read(&at("bad.pxi")) {
            assert_eq!(read, Adapter::read(&at("a.pxi")).unwrap(), "byte {place}");
        }
        std::fs::write(at("bad.pxi"), &whole[..place]).unwrap();
        assert!(Adapter::read(&at("bad.pxi")).is_err(), "cut at {place}");
    }
    let model = tiny_model(folder.path());
    let error = AdapterPixels::open(model.path()).unwrap_err().to_string();
    assert!(error.contains("this file holds a model"), "{error}");
}
