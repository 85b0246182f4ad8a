//! The tensors of a model: names, shapes, which a family must have, and the table in the file
//! (specs/pxi_llm.md section 4).

use std::collections::HashSet;

use super::config::{Architecture, ModelConfig};
use super::error::ModelError;
use super::plan::Rect;
use super::quant::Encoding;
use super::tiling::Tiling;

/// More tensors than this no file may have: 1,024 layers of 16 and room to spare.
pub(crate) const MAX_TENSORS: u32 = 65_536;
/// The longest name GGUF allows, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 64;
/// The largest single dimension.
const MAX_DIMENSION: u64 = 1 << 31;
/// The widest row of a matrix: a converter holds 64 of them in memory.
const MAX_COLUMNS: u64 = 1 << 20;
/// Bytes of a record without the name.
const RECORD_BYTES: usize = 2 + 1 + 1 + 4 + 32 + 4 + 4 + 8 + 16;

/// One tensor: what it is called, its shape, and where its tiles are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// GGUF name, `blk.0.attn_q.weight` for example.
    pub name: String,
    /// Dimensions in GGUF order: the contiguous one, the columns, first.
    pub dimensions: Vec<u64>,
    /// How it is cut into tiles.
    pub tiling: Tiling,
    /// Index of its first tile in the tile table.
    pub first_tile: u32,
    /// Its first line, counted from the start of the tiles.
    pub first_line: u64,
}

impl Tensor {
    /// The encoding of its weights.
    pub fn encoding(&self) -> Encoding {
        self.tiling.encoding
    }

    /// Its weights.
    pub fn weight_count(&self) -> u64 {
        self.tiling.rows * self.tiling.columns
    }

    /// Indices of its tiles in the tile table.
    pub fn tiles(&self) -> std::ops::Range<u32> {
        self.first_tile..self.first_tile + self.tiling.tile_count() as u32
    }

    /// The layer it belongs to and its name within the layer: `blk.3.attn_q.weight` gives
    /// `(3, "attn_q.weight")`.
    pub fn layer(&self) -> Option<(u32, &str)> {
        let (layer, rest) = self.name.strip_prefix("blk.")?.split_once('.')?;
        Some((layer.parse().ok()?, rest))
    }
}

/// Lays tensors out one after another: assigns first tiles and lines.
///
/// # Errors
/// Names the tensor whose name, shape or size cannot be.
pub fn lay_out(shapes: Vec<(String, Vec<u64>, Encoding)>) -> Result<Vec<Tensor>, ModelError> {
    if shapes.len() > MAX_TENSORS as usize {
        return Err(ModelError::field(
            "tensor_count",
            shapes.len(),
            format!("at most {MAX_TENSORS}"),
        ));
    }
    let (mut first_tile, mut first_line) = (0u64, 0u64);
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for (name, dimensions, encoding) in shapes {
        let bad =
            |problem: String| Err(ModelError::tensor(name.escape_debug().to_string(), problem));
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return bad(format!("name of {} bytes, expected 1 to {MAX_NAME_BYTES}", name.len()));
        }
        if !names.insert(name.clone()) {
            return bad("stands in the table twice".into());
        }
        if dimensions.is_empty()
            || dimensions.len() > 4
            || dimensions.iter().any(|&n| n == 0 || n > MAX_DIMENSION)
        {
            return bad(format!(
                "dimensions {dimensions:?}, expected 1 to 4 of 1 to {MAX_DIMENSION}"
            ));
        }
        if dimensions.len() > 1 && dimensions[0] > MAX_COLUMNS {
            return bad(format!(
                "rows of {} columns, at most {MAX_COLUMNS} expected",
                dimensions[0]
            ));
        }
        let Some(tiling) = Tiling::new(encoding, &dimensions) else {
            let block = encoding.block_len();
            return bad(format!(
                "dimensions {dimensions:?} do not fit {encoding} blocks of {block}, or overflow"
            ));
        };
        // A tile has a line at least, and the lines so far fit 32 bits, so their tiles do.
        let tensor = Tensor { name, dimensions, tiling, first_tile: first_tile as u32, first_line };
        first_tile += tensor.tiling.tile_count();
        first_line += tensor.tiling.line_count();
        if first_line >= u64::from(u32::MAX) {
            return Err(ModelError::tensor(
                tensor.name,
                "the model is over 4 TiB, which line numbers cannot count",
            ));
        }
        tensors.push(tensor);
    }
    Ok(tensors)
}

/// Tensors of a layer that the forward pass reads, beside those that every layer has.
const BIASES: [&str; 7] = [
    "attn_q.bias",
    "attn_k.bias",
    "attn_v.bias",
    "attn_output.bias",
    "ffn_gate.bias",
    "ffn_up.bias",
    "ffn_down.bias",
];

/// Whether there is a tensor of a name.
pub(super) fn has(tensors: &[Tensor]) -> impl Fn(&str) -> bool {
    let names: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    move |name| names.contains(name)
}

/// The first tensor that the forward pass would pass over: an answer without it would be wrong, and
/// nobody would see it. The angles that old converters wrote beside a layer say nothing new.
pub fn unused(tensors: &[Tensor]) -> Option<&Tensor> {
    const WHOLE: [&str; 4] =
        ["token_embd.weight", "output_norm.weight", "output.weight", "rope_freqs.weight"];
    const IN_LAYER: [&str; 13] = [
        "attn_norm.weight",
        "attn_q.weight",
        "attn_k.weight",
        "attn_v.weight",
        "attn_output.weight",
        "ffn_norm.weight",
        "ffn_gate.weight",
        "ffn_up.weight",
        "ffn_down.weight",
        "attn_q_norm.weight",
        "attn_k_norm.weight",
        "attn_rot_embd.weight",
        "attn_rot_embd",
    ];
    tensors.iter().find(|tensor| match tensor.layer() {
        Some((_, name)) => !IN_LAYER.contains(&name) && !BIASES.contains(&name),
        None => !WHOLE.contains(&tensor.name.as_str()),
    })
}

/// Checks that the tensors are those that the family computes with, in their shapes.
///
/// # Errors
/// Names the first tensor that is missing, misshapen, or of a layer that is not there.
pub(crate) fn check_family(config: &ModelConfig, tensors: &[Tensor]) -> Result<(), ModelError> {
    let by_name: std::collections::HashMap<&str, &Tensor> =
        tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    // Nine tensors make a layer: a count that cannot be is told before the loop runs over it.
    if u64::from(config.layer_count) * 9 > tensors.len() as u64 {
        let problem = format!(
            "{} layers need more than the file's {} tensors",
            config.layer_count,
            tensors.len()
        );
        return Err(ModelError::metadata(format!("{}.block_count", config.architecture), problem));
    }
    let check = |name: &str, shape: &[u64], required: bool| match by_name.get(name) {
        Some(tensor) if tensor.dimensions == shape => Ok(()),
        Some(tensor) => {
            let problem =
                format!("dimensions {:?}, expected {shape:?} from the metadata", tensor.dimensions);
            Err(ModelError::tensor(name, problem))
        }
        None if required => {
            Err(ModelError::tensor(name, format!("missing; expected dimensions {shape:?}")))
        }
        None => Ok(()),
    };
    let width = u64::from(config.embedding_size);
    let (vocab, hidden) = (u64::from(config.vocab_size), u64::from(config.hidden_size));
    let (query, kv, head) =
        (u64::from(config.query_size()), u64::from(config.kv_size()), u64::from(config.head_size));
    check("token_embd.weight", &[width, vocab], true)?;
    check("output_norm.weight", &[width], true)?;
    check("output.weight", &[width, vocab], false)?;
    check("rope_freqs.weight", &[u64::from(config.rope_size) / 2], false)?;
    // Demanded of this family alone; of others they are checked where they are there.
    let biases = config.architecture == Architecture::Qwen2;
    let norms = config.qk_norms || config.architecture == Architecture::Qwen3;
    for layer in 0..config.layer_count {
        let in_layer: [(&str, &[u64], bool); 18] = [
            ("attn_norm.weight", &[width], true),
            ("attn_q.weight", &[width, query], true),
            ("attn_k.weight", &[width, kv], true),
            ("attn_v.weight", &[width, kv], true),
            ("attn_output.weight", &[query, width], true),
            ("ffn_norm.weight", &[width], true),
            ("ffn_gate.weight", &[width, hidden], true),
            ("ffn_up.weight", &[width, hidden], true),
            ("ffn_down.weight", &[hidden, width], true),
            ("attn_q.bias", &[query], biases),
            ("attn_k.bias", &[kv], biases),
            ("attn_v.bias", &[kv], biases),
            ("attn_output.bias", &[width], false),
            ("ffn_gate.bias", &[hidden], false),
            ("ffn_up.bias", &[hidden], false),
            ("ffn_down.bias", &[width], false),
            ("attn_q_norm.weight", &[head], norms),
            ("attn_k_norm.weight", &[head], norms),
        ];
        for (name, shape, required) in in_layer {
            check(&format!("blk.{layer}.{name}"), shape, required)?;
        }
    }
    if let Some(tensor) =
        tensors.iter().find(|t| t.layer().is_some_and(|(layer, _)| layer >= config.layer_count))
    {
        let problem =
            format!("belongs to a layer beyond the {} of the metadata", config.layer_count);
        return Err(ModelError::tensor(&tensor.name, problem));
    }
    Ok(())
}

/// The encoding that holds the most weights.
pub(crate) fn main_encoding(tensors: &[Tensor]) -> Encoding {
    let weights = |encoding: Encoding| -> u64 {
        let of_it = tensors.iter().filter(|tensor| tensor.encoding() == encoding);
        of_it.map(Tensor::weight_count).sum()
    };
    // Of equals the last of the list, for writer and reader alike.
    Encoding::ALL
        .into_iter()
        .max_by_key(|&encoding| weights(encoding))
        .expect("there are encodings")
}

/// The table's bytes. `rects` has each tensor's rectangle on the map.
pub(crate) fn encode_table(tensors: &[Tensor], rects: &[Rect]) -> Vec<u8> {
    let mut table = Vec::new();
    for (tensor, rect) in tensors.iter().zip(rects) {
        table.extend((tensor.name.len() as u16).to_le_bytes());
        table.extend([tensor.dimensions.len() as u8, tensor.tiling.layout as u8]);
        table.extend(tensor.encoding().ggml().to_le_bytes());
        for index in 0..4 {
            table.extend(tensor.dimensions.get(index).copied().unwrap_or(1).to_le_bytes());
        }
        table.extend(tensor.first_tile.to_le_bytes());
        table.extend((tensor.tiling.tile_count() as u32).to_le_bytes());
        table.extend(tensor.first_line.to_le_bytes());
        for value in [rect.x, rect.y, rect.width, rect.height] {
            table.extend((value as u32).to_le_bytes());
        }
        table.extend(tensor.name.as_bytes());
    }
    table
}

/// Puts zeros into the rectangles of a table that [`parse_table`] takes.
pub(crate) fn forget_rects(mut table: &mut [u8]) {
    while let Some((record, rest)) = table.split_at_mut_checked(RECORD_BYTES) {
        // Four words at the end of a record, before its name.
        record[RECORD_BYTES - 16..].fill(0);
        let name = usize::from(u16::from_le_bytes([record[0], record[1]])).min(rest.len());
        table = &mut rest[name..];
    }
}

/// Names, shapes and encodings from a table of `count` records; what follows from them is for the
/// caller to compare by encoding the table anew.
///
/// # Errors
/// Names the record and field that cannot be.
pub(crate) fn parse_table(
    mut bytes: &[u8],
    count: u32,
) -> Result<Vec<(String, Vec<u64>, Encoding)>, ModelError> {
    if u64::from(count) * RECORD_BYTES as u64 > bytes.len() as u64 || count > MAX_TENSORS {
        return Err(ModelError::field(
            "tensor_count",
            count,
            format!("what {} bytes hold", bytes.len()),
        ));
    }
    let mut shapes = Vec::with_capacity(count as usize);
    for index in 0..count {
        let cut_off =
            || ModelError::field(format!("tensor {index}"), "the table's end", "a whole record");
        let (record, rest) = bytes.split_at_checked(RECORD_BYTES).ok_or_else(cut_off)?;
        let name_size = usize::from(u16::from_le_bytes([record[0], record[1]]));
        let (name, rest) = rest.split_at_checked(name_size).ok_or_else(cut_off)?;
        bytes = rest;
        let name = std::str::from_utf8(name).map_err(|_| {
            ModelError::field(format!("name of tensor {index}"), name.escape_ascii(), "UTF-8")
        })?;
        let dimension_count = usize::from(record[2]);
        if !(1..=4).contains(&dimension_count) {
            return Err(ModelError::tensor(
                name,
                format!("{dimension_count} dimensions, expected 1 to 4"),
            ));
        }
        let number = u32::from_le_bytes([record[4], record[5], record[6], record[7]]);
        let encoding = Encoding::from_ggml(number).ok_or_else(|| {
            ModelError::tensor(name, format!("GGML type {number} is no encoding that is read here"))
        })?;
        let dimensions =
            record[8..40].as_chunks::<8>().0.iter().map(|&bytes| u64::from_le_bytes(bytes));
        shapes.push((name.to_owned(), dimensions.take(dimension_count).collect(), encoding));
    }
    if !bytes.is_empty() {
        return Err(ModelError::field(
            "tensor table",
            format!("{} bytes more", bytes.len()),
            "its end",
        ));
    }
    Ok(shapes)
}
