//! Tiny models of every family and encoding, written as GGUF with random weights.

use std::path::Path;

use pixel_llm::model::Encoding;
use pixel_llm::model::gguf::{Array, GgufString, GgufWriter, Strings, TensorInfo, Value};

/// A small, fast source of bytes that are the same on every machine (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A model about to be written: change what you like first.
pub struct Tiny {
    pub pairs: Vec<(String, Value)>,
    pub tensors: Vec<(TensorInfo, Vec<u8>)>,
}

pub const WIDTH: u64 = 256;
pub const VOCAB: u64 = 300;

/// The sizes of a tiny model.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub width: u64,
    pub vocab: u64,
    pub hidden: u64,
    pub heads: u64,
    pub kv_heads: u64,
    pub head_size: u64,
    pub layers: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            width: WIDTH,
            vocab: VOCAB,
            hidden: 512,
            heads: 4,
            kv_heads: 2,
            head_size: 64,
            layers: 2,
        }
    }
}

impl Tiny {
    /// A two-layer model of a family; matrices in `encoding`, vectors in F32.
    pub fn new(architecture: &str, encoding: Encoding, seed: u64) -> Self {
        Self::shaped(architecture, encoding, seed, Shape::default())
    }

    /// The same with other sizes.
    pub fn shaped(architecture: &str, encoding: Encoding, seed: u64, shape: Shape) -> Self {
        let mut random = Random(seed);
        let Shape { width, hidden, head_size: head, .. } = shape;
        let (query, kv) = (shape.heads * head, shape.kv_heads * head);
        let mut tiny = Self { pairs: pairs(architecture, shape), tensors: Vec::new() };
        tiny.add(&mut random, "token_embd.weight", &[width, shape.vocab], encoding);
        tiny.add(&mut random, "output_norm.weight", &[width], Encoding::F32);
        for layer in 0..shape.layers {
            let mut add = |name: &str, dims: &[u64], encoding| {
                tiny.add(&mut random, &format!("blk.{layer}.{name}"), dims, encoding);
            };
            add("attn_norm.weight", &[width], Encoding::F32);
            add("attn_q.weight", &[width, query], encoding);
            add("attn_k.weight", &[width, kv], encoding);
            add("attn_v.weight", &[width, kv], encoding);
            add("attn_output.weight", &[query, width], encoding);
            add("ffn_norm.weight", &[width], Encoding::F32);
            add("ffn_gate.weight", &[width, hidden], encoding);
            add("ffn_up.weight", &[width, hidden], encoding);
            add("ffn_down.weight", &[hidden, width], encoding);
            if architecture == "qwen2" {
                add("attn_q.bias", &[query], Encoding::F32);
                add("attn_k.bias", &[kv], Encoding::F32);
                add("attn_v.bias", &[kv], Encoding::F32);
            }
            if architecture == "qwen3" {
                add("attn_q_norm.weight", &[head], Encoding::F32);
                add("attn_k_norm.weight", &[head], Encoding::F32);
            }
        }
        tiny
    }

    /// Models with biases on every matrix: of all layers, of one alone, and beside norms of heads.
    pub fn biased() -> impl Iterator<Item = (String, Self)> {
        let kinds = [
            ("llama", Encoding::F32, 0..2),
            ("llama", Encoding::Q4_K, 1..2),
            ("qwen2", Encoding::Q8_0, 0..1),
            ("qwen3", Encoding::F16, 0..2),
        ];
        kinds.into_iter().map(|(family, encoding, layers)| {
            let mut tiny = Self::new(family, encoding, 11);
            tiny.add_biases(&mut Random(12), layers);
            (format!("{family} {encoding}"), tiny)
        })
    }

    /// Gives some layers a bias on every matrix that has none.
    pub fn add_biases(&mut self, random: &mut Random, layers: std::ops::Range<u32>) {
        let matrices =
            ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
        for (layer, matrix) in layers.flat_map(|layer| matrices.map(|matrix| (layer, matrix))) {
            let rows = self.tensor(&format!("blk.{layer}.{matrix}.weight")).0.dims[1];
            let name = format!("blk.{layer}.{matrix}.bias");
            if self.tensors.iter().all(|(info, _)| info.name != name) {
                self.add(random, &name, &[rows], Encoding::F32);
            }
        }
    }

    /// Leaves out the layers after the first `layers`.
    pub fn shorten(&mut self, layers: u32) {
        let is_left_out = |name: &str| {
            let layer = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next());
            layer.is_some_and(|layer| layer.parse::<u32>().expect("layers are numbered") >= layers)
        };
        self.tensors.retain(|(info, _)| !is_left_out(&info.name));
        let (_, count) = self
            .pairs
            .iter_mut()
            .find(|(key, _)| key.ends_with(".block_count"))
            .expect("it is there");
        *count = Value::U32(layers);
    }

    /// Adds a tensor of random weights.
    pub fn add(&mut self, random: &mut Random, name: &str, dims: &[u64], encoding: Encoding) {
        let bytes = random_weights(random, encoding, dims.iter().product());
        self.tensors
            .push((TensorInfo { name: name.to_owned(), dims: dims.to_vec(), encoding }, bytes));
    }

    /// The value of a pair, to be changed.
    pub fn pair(&mut self, key: &str) -> &mut Value {
        &mut self.pairs.iter_mut().find(|(known, _)| known == key).expect("the pair is there").1
    }

    /// Sets a pair, new or old.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.pairs.push((key.to_owned(), value)),
        }
    }

    /// A tensor, to be changed.
    pub fn tensor(&mut self, name: &str) -> &mut (TensorInfo, Vec<u8>) {
        self.tensors.iter_mut().find(|(info, _)| info.name == name).expect("the tensor is there")
    }

    /// Writes the GGUF file.
    pub fn write(&self, path: &Path) {
        let infos: Vec<TensorInfo> = self.tensors.iter().map(|(info, _)| info.clone()).collect();
        let mut writer =
            GgufWriter::create(path, &self.pairs, &infos).expect("the header is sound");
        self.tensors.iter().for_each(|(_, bytes)| writer.write(bytes).expect("the disk has room"));
        writer.finish().expect("all tensors are written");
    }
}

fn pairs(architecture: &str, shape: Shape) -> Vec<(String, Value)> {
    let text = |value: &str| Value::String(GgufString::from(value));
    let key = |name: &str| format!("{architecture}.{name}");
    let mut tokens = Strings::default();
    (0..shape.vocab).for_each(|id| tokens.push(format!("token{id}")));
    let mut pairs = vec![
        ("general.architecture".into(), text(architecture)),
        ("general.name".into(), text("Tiny")),
        ("general.license".into(), text("CC0-1.0")),
        (key("block_count"), Value::U32(shape.layers)),
        (key("context_length"), Value::U32(128)),
        (key("embedding_length"), Value::U32(shape.width as u32)),
        (key("feed_forward_length"), Value::U32(shape.hidden as u32)),
        (key("attention.head_count"), Value::U32(shape.heads as u32)),
        (key("attention.head_count_kv"), Value::U32(shape.kv_heads as u32)),
        (key("attention.layer_norm_rms_epsilon"), Value::F32(1e-5)),
        (key("rope.freq_base"), Value::F32(10_000.0)),
        ("tokenizer.ggml.model".into(), text("gpt2")),
        ("tokenizer.ggml.tokens".into(), Value::Array(Array::String(tokens))),
        ("strange.key".into(), Value::F64(-0.0)),
    ];
    if shape.heads * shape.head_size != shape.width {
        for name in ["attention.key_length", "attention.value_length"] {
            pairs.push((key(name), Value::U32(shape.head_size as u32)));
        }
    }
    pairs
}

/// Blocks of random bits whose scales are small and finite.
pub fn random_weights(random: &mut Random, encoding: Encoding, weights: u64) -> Vec<u8> {
    let blocks = weights as usize / encoding.block_len();
    let mut bytes = Vec::with_capacity(blocks * encoding.block_bytes());
    for _ in 0..blocks {
        let mut block: Vec<u8> = (0..encoding.block_bytes()).map(|_| random.next() as u8).collect();
        let mut scale = |at: usize| {
            let value = (random.below(2000) as f32 - 1000.0) * 1e-5;
            block[at..at + 2].copy_from_slice(&half::f16::from_f32(value).to_le_bytes());
        };
        match encoding {
            Encoding::F32 => {
                let value = (random.below(2_000_000) as f32 - 1e6) * 1e-6;
                block.copy_from_slice(&value.to_le_bytes());
            }
            Encoding::BF16 => block[1] = 0x3C | (block[1] & 0x80),
            _ => encoding.half_floats().iter().for_each(|&at| scale(at)),
        }
        bytes.extend(block);
    }
    bytes
}
