//! Builds GGUF files in memory, valid ones and ones that are wrong in one chosen way.
//!
//! ```ignore
//! let builder = GgufBuilder::new().pair("general.name", "tiny");
//! let file = builder.tensor("a", &[32], Encoding::F32, bytes).build();
//! ```
#![allow(dead_code, reason = "each test uses a part of the builder")]

use std::path::{Path, PathBuf};

use pixel_llm::model::Encoding;
use pixel_llm::model::gguf::{Value, metadata_bytes};

/// A tensor's entry in the header, every field of which may be wrong, and its bytes.
#[derive(Clone)]
pub struct RawTensor {
    pub name: Vec<u8>,
    pub dims: Vec<u64>,
    pub ggml_type: u32,
    /// From the start of the data; `None` is where the bytes really are.
    pub offset: Option<u64>,
    pub bytes: Vec<u8>,
}

/// A file being built. Pairs and tensors appear in the order in which they were added.
#[derive(Clone)]
pub struct GgufBuilder {
    magic: [u8; 4],
    version: u32,
    alignment: u64,
    tensor_count: Option<u64>,
    pair_count: Option<u64>,
    pairs: Vec<Vec<u8>>,
    tensors: Vec<RawTensor>,
    last_padding: bool,
}

impl Default for GgufBuilder {
    fn default() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            alignment: 32,
            tensor_count: None,
            pair_count: None,
            pairs: Vec::new(),
            tensors: Vec::new(),
            last_padding: true,
        }
    }
}

impl GgufBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metadata pair.
    pub fn pair(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.pairs.push(metadata_bytes(&[(key.to_owned(), value.into())]));
        self
    }

    /// Adds a tensor with its bytes.
    pub fn tensor(self, name: &str, dims: &[u64], encoding: Encoding, bytes: Vec<u8>) -> Self {
        let (name, dims) = (name.as_bytes().to_vec(), dims.to_vec());
        self.raw_tensor(RawTensor { name, dims, ggml_type: encoding.ggml(), offset: None, bytes })
    }

    /// Places tensors at multiples of `alignment` and says so in the metadata.
    pub fn aligned(mut self, alignment: u32) -> Self {
        self.alignment = alignment.into();
        self.pair("general.alignment", Value::U32(alignment))
    }

    pub fn magic(mut self, magic: &[u8; 4]) -> Self {
        self.magic = *magic;
        self
    }

    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Says that there are so many tensors, whatever there are.
    pub fn tensor_count(mut self, count: u64) -> Self {
        self.tensor_count = Some(count);
        self
    }

    /// Says that there are so many pairs, whatever there are.
    pub fn pair_count(mut self, count: u64) -> Self {
        self.pair_count = Some(count);
        self
    }

    /// Adds the bytes of a pair as they are.
    pub fn raw_pair(mut self, bytes: Vec<u8>) -> Self {
        self.pairs.push(bytes);
        self
    }

    /// Adds a tensor whose fields may be wrong.
    pub fn raw_tensor(mut self, tensor: RawTensor) -> Self {
        self.tensors.push(tensor);
        self
    }

    /// Changes the last tensor that was added.
    pub fn change(mut self, change: impl FnOnce(&mut RawTensor)) -> Self {
        change(self.tensors.last_mut().expect("a tensor was added"));
        self
    }

    /// Ends the file with the last tensor's last byte.
    pub fn without_last_padding(mut self) -> Self {
        self.last_padding = false;
        self
    }

    /// The bytes of the file.
    pub fn build(&self) -> Vec<u8> {
        let mut file = self.magic.to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        file.extend(self.pair_count.unwrap_or(self.pairs.len() as u64).to_le_bytes());
        file.extend(self.pairs.concat());
        let mut place = 0;
        for tensor in &self.tensors {
            file.extend(string(&tensor.name));
            file.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|dim| file.extend(dim.to_le_bytes()));
            file.extend(tensor.ggml_type.to_le_bytes());
            file.extend(tensor.offset.unwrap_or(place).to_le_bytes());
            place = (place + tensor.bytes.len() as u64).next_multiple_of(self.alignment);
        }
        for (i, tensor) in self.tensors.iter().enumerate() {
            self.pad(&mut file);
            file.extend(&tensor.bytes);
            if i + 1 == self.tensors.len() && self.last_padding {
                self.pad(&mut file);
            }
        }
        file
    }

    /// Writes the file.
    pub fn save(&self, path: &Path) -> PathBuf {
        std::fs::write(path, self.build()).expect("the folder of a test can be written");
        path.to_owned()
    }

    fn pad(&self, file: &mut Vec<u8>) {
        file.resize(file.len().next_multiple_of(self.alignment as usize), 0);
    }
}

/// A string as GGUF holds it.
pub fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

/// The bytes of a pair whose value is given as bytes.
pub fn raw_pair(key: impl AsRef<[u8]>, value_type: u32, value: &[u8]) -> Vec<u8> {
    [&string(key), &value_type.to_le_bytes()[..], value].concat()
}

/// Bytes that no two tensors share, and that no block of zeros passes for.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
