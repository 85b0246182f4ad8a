//! Reads the folder of an adapter as PEFT writes it: `adapter_config.json` and
//! `adapter_model.safetensors`.
//!
//! The base says what the folder does not: the family, and how many heads there are. Rows of query
//! and key of the llama family are put in the order in which GGUF has them, as llama.cpp's
//! converter does.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value};

use super::{Adapter, AdapterError, LowRank, keys};
use crate::files;
use crate::model::config::{ModelConfig, RopeKind};
use crate::model::quant::dequantize;
use crate::model::{Encoding, PixelModel};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

/// The names of a layer's matrices there and in GGUF.
const MODULES: [(&str, &str); 7] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// Fields that ask for more than two matrices beside each one, and what they ask for. `null`,
/// `false`, nothing and an empty list ask for nothing.
const REFUSED: [(&str, &str); 13] = [
    ("use_dora", "DoRA"),
    ("use_qalora", "QALoRA"),
    ("lora_bias", "biases of B"),
    ("fan_in_fan_out", "matrices that lie the other way round"),
    ("alpha_pattern", "an alpha of single modules"),
    ("modules_to_save", "modules that were trained whole"),
    ("trainable_token_indices", "tokens that were trained"),
    ("layer_replication", "layers that are used twice"),
    ("alora_invocation_tokens", "an adapter that certain tokens switch on"),
    ("target_parameters", "parameters that belong to no linear module"),
    ("megatron_config", "Megatron's layers"),
    ("arrow_config", "routing between adapters"),
    ("loftq_config", "LoftQ, which changes the base"),
];

/// Ways to begin an adapter that change the base as well.
const CHANGED_BASES: [&str; 4] = ["pissa", "olora", "corda", "loftq"];

impl Adapter {
    /// Reads an adapter for a model: a GGUF file, or the folder of one as PEFT writes it, whose
    /// rows depend on the model.
    ///
    /// # Errors
    /// As [`Adapter::read`].
    pub fn open(path: &Path, model: &PixelModel) -> Result<Self, AdapterError> {
        if path.is_dir() { read_folder(path, model.config()) } else { Self::read(path) }
    }
}

fn read_folder(folder: &Path, config: &ModelConfig) -> Result<Adapter, AdapterError> {
    let settings = Settings::read(&folder.join(CONFIG))?;
    let path = folder.join(TENSORS);
    if !path.exists() && folder.join("adapter_model.bin").exists() {
        let problem = "adapter_model.bin is a pickle, which may hold a program: save the adapter \
                       with save_pretrained(..., safe_serialization=True)";
        return Err(AdapterError::file(folder, problem));
    }
    let bytes = files::read(&path).map_err(|error| AdapterError::file(&path, error.to_string()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| {
        AdapterError::file(&path, format!("no sound safetensors file: {error}"))
    })?;
    // By name, since the file's order says nothing.
    let mut halves: BTreeMap<(u32, usize), [Option<(String, Matrix)>; 2]> = BTreeMap::new();
    for (name, view) in tensors.tensors() {
        let (place, half) =
            place_of(&name).map_err(|problem| AdapterError::tensor(&path, &name, problem))?;
        let slot = &mut halves.entry(place).or_default()[half];
        if let Some((first, _)) = slot {
            let problem = format!("is the same half as {first}");
            return Err(AdapterError::tensor(&path, &name, problem));
        }
        *slot = Some((name.clone(), Matrix::read(&path, &name, &view)?));
    }
    let mut updates = Vec::new();
    for ((layer, module), halves) in halves {
        let tensor = format!("blk.{layer}.{}.weight", MODULES[module].1);
        let (name_a, a, name_b, b) = match halves {
            [Some((name_a, a)), Some((name_b, b))] => (name_a, a, name_b, b),
            [Some((name, _)), None] | [None, Some((name, _))] => {
                return Err(AdapterError::tensor(&path, &name, "its other half is missing"));
            }
            [None, None] => continue,
        };
        let update = LowRank {
            inputs: a.columns,
            outputs: b.rows,
            rank: a.rows,
            a: a.numbers,
            b: settings.rows_of_b(config, MODULES[module].1, a.rows, &b),
            tensor,
        };
        if b.columns != update.rank || update.rank > super::read::MAX_RANK {
            let problem = format!("rank {}, but {name_a} has {}", b.columns, update.rank);
            return Err(AdapterError::tensor(&path, &name_b, problem));
        }
        updates.push(update);
    }
    if updates.is_empty() {
        return Err(AdapterError::file(&path, "it has no tensors: it would change nothing"));
    }
    let architecture = config.architecture;
    Ok(Adapter { architecture, alpha: settings.alpha(), updates, base: None, run: None })
}

/// What the configuration says.
struct Settings {
    rank: f32,
    alpha: f32,
    rank_stabilised: bool,
}

impl Settings {
    fn read(path: &Path) -> Result<Self, AdapterError> {
        let refuse = |problem: String| AdapterError::file(path, problem);
        let text = files::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        let fields: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        let kind = fields.get("peft_type").and_then(Value::as_str).unwrap_or("nothing");
        if kind != "LORA" {
            return Err(refuse(format!("peft_type: found {kind:?}, expected \"LORA\"")));
        }
        for (name, what) in REFUSED {
            if fields.get(name).is_some_and(asks) {
                return Err(refuse(format!("{name}: {what}: not supported; train without it")));
            }
        }
        if let Some(bias) = fields.get("bias").and_then(Value::as_str).filter(|b| *b != "none") {
            return Err(refuse(format!("bias: {bias:?}: trained biases are not supported")));
        }
        let start = fields.get("init_lora_weights").and_then(Value::as_str).unwrap_or_default();
        if CHANGED_BASES.iter().any(|base| start.to_lowercase().starts_with(base)) {
            return Err(refuse(format!(
                "init_lora_weights: {start:?} changes the base too; convert the adapter with \
                 PEFT's path_initial_model_for_weight_conversion first"
            )));
        }
        let number = |name: &str| {
            let found = fields.get(name).and_then(Value::as_f64);
            found.filter(|n| *n > 0.0 && *n < 1e9).ok_or_else(|| {
                let found = fields.get(name).map_or("nothing".into(), Value::to_string);
                refuse(format!("{name}: found {found}, expected a number over 0"))
            })
        };
        Ok(Self {
            rank: number("r")? as f32,
            alpha: number("lora_alpha")? as f32,
            rank_stabilised: fields.get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
        })
    }

    /// Alpha as GGUF has it, where the factor is always alpha by rank.
    fn alpha(&self) -> f32 {
        if self.rank_stabilised { self.alpha * self.rank.sqrt() } else { self.alpha }
    }

    /// B of a module, its rows in the order of GGUF. With rsLoRA, B of a module whose rank is
    /// another than most has what its factor lacks.
    fn rows_of_b(&self, config: &ModelConfig, module: &str, rank: usize, b: &Matrix) -> Vec<f32> {
        let factor = if self.rank_stabilised { (rank as f32 / self.rank).sqrt() } else { 1.0 };
        let heads = match module {
            "attn_q" if config.rope_kind == RopeKind::Pairs => config.head_count,
            "attn_k" if config.rope_kind == RopeKind::Pairs => config.kv_head_count,
            _ => 0,
        } as usize;
        // Of a matrix of another shape no row is moved: it is refused when it is checked.
        let head = if heads > 0 && b.rows.is_multiple_of(2 * heads) { b.rows / heads } else { 0 };
        let source = |row: usize| match head {
            0 => row,
            // Dimensions that turn together lie half a head apart there, and side by side here.
            head => row / head * head + row % 2 * (head / 2) + row % head / 2,
        };
        let rows = (0..b.rows).flat_map(|row| &b.numbers[source(row) * b.columns..][..b.columns]);
        rows.map(|number| number * factor).collect()
    }
}

/// Whether a field asks for something.
fn asks(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// Layer, module and half (0 is A) of a tensor's name, such as
/// `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`.
fn place_of(name: &str) -> Result<((u32, usize), usize), &'static str> {
    if name.contains("lora_magnitude_vector") {
        return Err("a magnitude of DoRA, which is not supported: train without use_dora");
    }
    if name.contains("embed_tokens") || name.contains("lm_head") || name.contains("lora_embedding")
    {
        return Err(
            "changes the token embedding or the output matrix, which is not supported: train \
             without embed_tokens and lm_head",
        );
    }
    let place = || {
        let rest = name.strip_prefix("base_model.model.").unwrap_or(name);
        let (layer, rest) = rest.strip_prefix("model.layers.")?.split_once('.')?;
        let (module, half) =
            [(".lora_A", 0), (".lora_B", 1)].into_iter().find_map(|(mark, half)| {
                let (module, rest) = rest.split_once(mark)?;
                matches!(rest, ".weight" | ".default.weight").then_some((module, half))
            })?;
        let module = MODULES.iter().position(|(known, _)| *known == module)?;
        let tensor = format!("blk.{layer}.{}.weight", MODULES[module].1);
        Some(((layer.parse().ok().filter(|_| keys::is_target(&tensor))?, module), half))
    };
    place().ok_or(
        "does not name a half of a linear module: expected \
         base_model.model.model.layers.N.MODULE.lora_A.weight or lora_B, MODULE one of \
         self_attn.{q,k,v,o}_proj and mlp.{gate,up,down}_proj",
    )
}

struct Matrix {
    rows: usize,
    columns: usize,
    numbers: Vec<f32>,
}

impl Matrix {
    fn read(path: &Path, name: &str, view: &TensorView<'_>) -> Result<Self, AdapterError> {
        let refuse = |problem: String| Err(AdapterError::tensor(path, name, problem));
        let [rows, columns] = *view.shape() else {
            return refuse(format!("{} dimensions, expected 2", view.shape().len()));
        };
        if rows == 0 || columns == 0 {
            return refuse(format!("{rows} x {columns} has no numbers"));
        }
        let encoding = match view.dtype() {
            Dtype::F32 => Encoding::F32,
            Dtype::F16 => Encoding::F16,
            Dtype::BF16 => Encoding::BF16,
            other => return refuse(format!("type {other:?}, expected F32, F16 or BF16")),
        };
        // The crate has compared the shape with the bytes.
        let mut numbers = vec![0.0; rows * columns];
        dequantize(encoding, view.data(), &mut numbers);
        match numbers.iter().position(|number| !number.is_finite()) {
            Some(at) => refuse(format!("number {at} is {}: it is damaged", numbers[at])),
            None => Ok(Self { rows, columns, numbers }),
        }
    }
}
