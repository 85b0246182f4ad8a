//! Reads the GGUF file of an adapter.

use std::path::Path;

use super::pixels::AdapterPixels;
use super::{Adapter, AdapterError, LowRank, keys};
use crate::files::open_regular;
use crate::model::Encoding;
use crate::model::config::Architecture;
use crate::model::gguf::{Gguf, GgufError, Metadata};
use crate::model::quant::dequantize;

/// The largest rank that is taken: more than this no adapter has, and it bounds what a pass keeps.
pub(super) const MAX_RANK: usize = 1024;

impl Adapter {
    /// Reads an adapter: a GGUF file, or the pixels of one.
    ///
    /// # Errors
    /// It is no sound adapter, or of a kind that is not taken: the error names what and why.
    pub fn read(path: &Path) -> Result<Self, AdapterError> {
        if path.is_dir() {
            let problem = "is a folder, as PEFT writes it, whose rows depend on the model: make it \
                           a file by `pixel-llm convert DIR adapter.gguf --base MODEL`";
            return Err(AdapterError::file(path, problem));
        }
        if is_pixels(path) {
            let pixels = AdapterPixels::open(path)?;
            let tensors = pixels.tensors().iter();
            let source = Source {
                path,
                metadata: pixels.metadata(),
                tensors: tensors
                    .map(|t| (t.name.as_str(), t.dimensions.as_slice(), t.encoding()))
                    .collect(),
                read: &|index| Ok(pixels.tensor_bytes(index)?),
            };
            return Self::of_source(&source);
        }
        Self::of_gguf(path, &Gguf::open(path)?)
    }

    /// The adapter of an open GGUF file.
    pub(super) fn of_gguf(path: &Path, gguf: &Gguf) -> Result<Self, AdapterError> {
        let tensors = gguf.tensors().iter();
        Self::of_source(&Source {
            path,
            metadata: gguf.metadata(),
            tensors: tensors.map(|t| (t.name.as_str(), t.dims.as_slice(), t.encoding)).collect(),
            read: &|index| Ok(gguf.read(&gguf.tensors()[index])?),
        })
    }

    fn of_source(source: &Source<'_>) -> Result<Self, AdapterError> {
        let path = source.path;
        let (architecture, alpha) = check_metadata(path, source.metadata)?;
        let text = |key: &str| {
            source.metadata.str(key).map_err(|error| AdapterError::file(path, error.to_string()))
        };
        let base = text(keys::BASE)?.map(|hex| root(path, hex)).transpose()?;
        let run = text(keys::RUN)?.map(str::to_owned);
        let mut updates = Vec::new();
        for (index, (name, ..)) in source.tensors.iter().enumerate() {
            check_name(source, name)?;
            if let Some(matrix) = name.strip_suffix(keys::HALVES[0]) {
                updates.push(read_update(source, matrix, index)?);
            }
        }
        if updates.is_empty() {
            return Err(AdapterError::file(path, "it has no tensors: it would change nothing"));
        }
        Ok(Self { architecture, alpha, updates, base, run })
    }
}

/// A file that has the tensors of an adapter, whatever its format.
struct Source<'a> {
    path: &'a Path,
    metadata: &'a Metadata,
    /// Names, dimensions in GGML's order, encodings; sizes were compared with the file's.
    tensors: Vec<(&'a str, &'a [u64], Encoding)>,
    /// Gives the bytes of a tensor as GGUF has them.
    read: &'a dyn Fn(usize) -> Result<Vec<u8>, AdapterError>,
}

impl Source<'_> {
    fn index(&self, name: &str) -> Option<usize> {
        self.tensors.iter().position(|(known, ..)| *known == name)
    }
}

/// Whether a file begins as pixels do; what cannot be read is for the next reader to say.
fn is_pixels(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    let read = open_regular(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == crate::pxi::MAGIC
}

/// The family and alpha of a file that says that it is a low-rank adapter.
fn check_metadata(path: &Path, metadata: &Metadata) -> Result<(Architecture, f32), AdapterError> {
    let refuse = |problem: String| Err(AdapterError::file(path, problem));
    let wrong = |error: GgufError| AdapterError::file(path, error.to_string());
    match metadata.str(keys::TYPE).map_err(wrong)? {
        Some(keys::ADAPTER) => {}
        found => {
            let found = found.unwrap_or("model");
            return refuse(format!(
                "{}: found {found:?}, expected \"adapter\": name an adapter here, made by training \
                 or by llama.cpp's convert_lora_to_gguf.py",
                keys::TYPE
            ));
        }
    }
    if let Some((key, _)) = metadata.iter().find(|(key, _)| key.starts_with(keys::ALORA)) {
        return refuse(format!(
            "{key}: an adapter that certain tokens switch on, which is not supported; train one \
             without alora_invocation_tokens"
        ));
    }
    match metadata.str(keys::ADAPTER_TYPE).map_err(wrong)? {
        Some(keys::LORA) => {}
        found => {
            let found = found.unwrap_or("nothing");
            return refuse(format!("{}: found {found:?}, expected \"lora\"", keys::ADAPTER_TYPE));
        }
    }
    let name = metadata.str(keys::ARCHITECTURE).map_err(wrong)?.unwrap_or("nothing");
    let Some(architecture) = Architecture::named(name) else {
        return refuse(format!(
            "{}: {name:?} is not supported, expected llama, qwen2 or qwen3",
            keys::ARCHITECTURE
        ));
    };
    // As llama.cpp has it: without the key, the factor is 1.
    let alpha = metadata.f32(keys::ALPHA).map_err(wrong)?.unwrap_or(0.0);
    if !alpha.is_finite() {
        return refuse(format!("{}: {alpha} is no number", keys::ALPHA));
    }
    Ok((architecture, alpha))
}

/// The bytes of a hash in hex.
fn root(path: &Path, hex: &str) -> Result<[u8; 32], AdapterError> {
    let mut root = [0; 32];
    let is_hex = hex.len() == 64 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_hex {
        let problem = format!("{}: {hex:?} is no hash of 64 hex digits", keys::BASE);
        return Err(AdapterError::file(path, problem));
    }
    for (byte, at) in root.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).expect("two hex digits");
    }
    Ok(root)
}

/// Refuses a tensor that is no half of an update.
fn check_name(source: &Source<'_>, name: &str) -> Result<(), AdapterError> {
    let refuse = |problem: &str| Err(AdapterError::tensor(source.path, name, problem));
    let [a, b] = keys::HALVES;
    let Some((matrix, other)) = (name.strip_suffix(a).map(|matrix| (matrix, b)))
        .or_else(|| name.strip_suffix(b).map(|matrix| (matrix, a)))
    else {
        return refuse(if name.ends_with("_norm.weight") {
            "a trained norm, which llama.cpp passes over in silence and which is not supported: \
             train without it"
        } else if name.contains("lora_magnitude") || name.contains("dora_scale") {
            "a magnitude of DoRA, which is not supported: train without use_dora, or merge it"
        } else {
            "is unknown: an adapter has tensors that end in .lora_a and .lora_b"
        });
    };
    if matches!(matrix, "token_embd.weight" | "output.weight") {
        return refuse(
            "changes the token embedding or the output matrix, which is not supported: train \
             without embed_tokens and lm_head",
        );
    }
    if !keys::is_target(matrix) {
        return refuse(
            "does not name a matrix that an adapter changes: expected blk.LAYER.NAME.weight, NAME \
             one of attn_q, attn_k, attn_v, attn_output, ffn_gate, ffn_up and ffn_down",
        );
    }
    if source.index(&format!("{matrix}{other}")).is_none() {
        return refuse(&format!("{matrix}{other} is missing, its other half"));
    }
    Ok(())
}

/// Reads both halves of an update, A of which is a tensor's index.
fn read_update(source: &Source<'_>, matrix: &str, a: usize) -> Result<LowRank, AdapterError> {
    let name = format!("{matrix}{}", keys::HALVES[1]);
    let b = source.index(&name).expect("the names were checked");
    let [inputs, rank] = shape(source, a)?;
    let [rank_of_b, outputs] = shape(source, b)?;
    if rank != rank_of_b {
        let problem = format!("rank {rank_of_b}, but {} has {rank}", source.tensors[a].0);
        return Err(AdapterError::tensor(source.path, &name, problem));
    }
    if rank > MAX_RANK {
        let problem = format!("rank {rank}, at most {MAX_RANK} is supported");
        return Err(AdapterError::tensor(source.path, source.tensors[a].0, problem));
    }
    let (a, b) = (numbers(source, a)?, numbers(source, b)?);
    Ok(LowRank { tensor: matrix.to_owned(), inputs, outputs, rank, a, b })
}

/// Columns and rows of a matrix.
fn shape(source: &Source<'_>, index: usize) -> Result<[usize; 2], AdapterError> {
    let (name, dims, _) = source.tensors[index];
    // A matrix's sizes fit: its bytes are in the file.
    match *dims {
        [columns, rows] => Ok([columns as usize, rows as usize]),
        _ => {
            let problem = format!("{} dimensions, expected 2", dims.len());
            Err(AdapterError::tensor(source.path, name, problem))
        }
    }
}

fn numbers(source: &Source<'_>, index: usize) -> Result<Vec<f32>, AdapterError> {
    let (name, dims, encoding) = source.tensors[index];
    let bytes = (source.read)(index)?;
    let mut numbers = vec![0.0; dims.iter().product::<u64>() as usize];
    dequantize(encoding, &bytes, &mut numbers);
    if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
        let problem = format!("number {at} is {}: the adapter is damaged", numbers[at]);
        return Err(AdapterError::tensor(source.path, name, problem));
    }
    Ok(numbers)
}
