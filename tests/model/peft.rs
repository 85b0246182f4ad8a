//! Adapters as PEFT saves them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;

use super::adapter::{adapter, tiny_model};
use pixel_llm::model::{Adapter, Architecture};

const MODULES: [(&str, &str); 7] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// Rows of B as PEFT has them, where `heads` heads turn dimensions half a head apart: what
/// llama.cpp's converter undoes by `reshape(heads, 2, size / 2).swapaxes(1, 2)`.
fn halves_apart(b: &[f32], rank: usize, heads: usize) -> Vec<f32> {
    let rows = b.len() / rank;
    let half = rows / heads / 2;
    let mut out = vec![0.0; b.len()];
    for head in 0..heads {
        for side in 0..2 {
            for at in 0..half {
                let (there, here) =
                    (head * 2 * half + side * half + at, head * 2 * half + 2 * at + side);
                out[there * rank..][..rank].copy_from_slice(&b[here * rank..][..rank]);
            }
        }
    }
    out
}

/// Writes an adapter as PEFT does; `change` is what is wrong with it.
fn save(folder: &Path, adapter: &Adapter, config: serde_json::Value, extra: &[&str]) {
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for update in &adapter.updates {
        let (layer, name) = update.tensor["blk.".len()..].split_once('.').unwrap();
        let name = name.trim_end_matches(".weight");
        let module = MODULES.iter().find(|(_, gguf)| *gguf == name).unwrap().0;
        let b = match name {
            "attn_q" => halves_apart(&update.b, update.rank, 4),
            "attn_k" => halves_apart(&update.b, update.rank, 2),
            _ => update.b.clone(),
        };
        let bytes = |numbers: &[f32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let name =
            |half| format!("base_model.model.model.layers.{layer}.{module}.lora_{half}.weight");
        tensors.push((name("A"), vec![update.rank, update.inputs], bytes(&update.a)));
        tensors.push((name("B"), vec![update.outputs, update.rank], bytes(&b)));
    }
    for name in extra {
        tensors.push(((*name).to_owned(), vec![1, 1], vec![0; 4]));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    std::fs::write(folder.join("adapter_model.safetensors"), bytes).unwrap();
}

fn config() -> serde_json::Value {
    json!({
        "peft_type": "LORA", "r": 8, "lora_alpha": 16, "use_rslora": false, "use_dora": false,
        "bias": "none", "modules_to_save": null, "alpha_pattern": {}, "rank_pattern": {"q_proj": 3},
        "fan_in_fan_out": false, "init_lora_weights": true, "target_modules": ["q_proj"],
    })
}

#[test]
fn a_folder_of_peft_is_the_adapter_that_llama_cpp_would_convert() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model(folder.path());
    let expected = Adapter { run: None, ..adapter(2) };
    save(folder.path(), &expected, config(), &[]);
    let found = Adapter::open(folder.path(), &model).unwrap();
    assert_eq!(found, expected);
    found.check(&model, false).unwrap();

    let error = Adapter::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("--base MODEL"), "{error}");
}

#[test]
fn rslora_has_the_factor_of_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model(folder.path());
    let mut settings = config();
    settings["use_rslora"] = true.into();
    save(folder.path(), &adapter(1), settings, &[]);
    let found = Adapter::open(folder.path(), &model).unwrap();
    for (found, plain) in found.updates.iter().zip(&adapter(1).updates) {
        let factor =
            adapter_factor(&Adapter { alpha: 16.0 * 8f32.sqrt(), ..adapter(1) }, found.rank);
        let wanted = 16.0 / (found.rank as f32).sqrt();
        let largest = |b: &[f32]| b.iter().fold(0f32, |most, n| most.max(n.abs()));
        let scaled = factor * largest(&found.b) / largest(&plain.b);
        assert!((scaled - wanted).abs() < 1e-4, "{}: {scaled} for {wanted}", found.tensor);
    }
}

fn adapter_factor(adapter: &Adapter, rank: usize) -> f32 {
    adapter.alpha / rank as f32
}

#[test]
fn what_is_not_taken_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model(folder.path());
    let refusal = |config: serde_json::Value, extra: &[&str]| {
        save(folder.path(), &adapter(1), config, extra);
        let error = Adapter::open(folder.path(), &model).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    for (field, value, expected) in [
        ("use_dora", json!(true), "DoRA"),
        ("alpha_pattern", json!({"q_proj": 1}), "alpha_pattern"),
        ("modules_to_save", json!(["lm_head"]), "modules_to_save"),
        ("bias", json!("all"), "trained biases"),
        ("peft_type", json!("LOHA"), "\"LOHA\""),
        ("init_lora_weights", json!("pissa_niter_16"), "changes the base"),
        ("lora_alpha", json!(0), "lora_alpha: found 0"),
        ("r", json!("8"), "r: found"),
        ("layer_replication", json!([[0, 2]]), "layers that are used twice"),
    ] {
        let mut config = config();
        config[field] = value;
        let error = refusal(config, &[]);
        assert!(error.contains(expected) && error.contains("adapter_config.json"), "{error}");
    }
    let layer = "base_model.model.model.layers.0.";
    for (name, expected) in [
        (format!("{layer}self_attn.q_proj.lora_magnitude_vector.weight"), "DoRA"),
        ("base_model.model.lm_head.lora_A.weight".to_owned(), "output matrix"),
        (format!("{layer}mlp.other.lora_A.weight"), "does not name"),
        (format!("{layer}self_attn.q_proj.lora_A.default.weight"), "is the same half as"),
        ("base_model.model.model.layers.9.mlp.up_proj.lora_A.weight".to_owned(), "is missing"),
    ] {
        let error = refusal(config(), &[&name]);
        assert!(error.contains(expected), "{error}");
    }
    std::fs::remove_file(folder.path().join("adapter_model.safetensors")).unwrap();
    std::fs::write(folder.path().join("adapter_model.bin"), "x").unwrap();
    let error = Adapter::open(folder.path(), &model).unwrap_err().to_string();
    assert!(error.contains("pickle"), "{error}");
}

#[test]
fn cut_and_flipped_folders_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model(folder.path());
    let mut small = adapter(1);
    small.updates.truncate(1);
    save(folder.path(), &small, config(), &[]);
    let path = folder.path().join("adapter_model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for cut in (0..400).chain([whole.len() - 1]) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(Adapter::open(folder.path(), &model).is_err(), "cut at {cut}");
    }
    for at in 0..400 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).unwrap();
        let _ = Adapter::open(folder.path(), &model);
    }
    assert_eq!(small.architecture, Architecture::Llama);
}
