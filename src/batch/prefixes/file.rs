//! A kept prefix as a `.pxi` file: a picture whose rows are positions.
//!
//! In: tokens, the key of an engine, and its keys and values as it writes them. Out: a file, and
//! from a file what it is of. See `specs/requests.md` section 8 for the layout.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::engine::PrefixKey;
use crate::forward::cpu::CacheType;
use crate::pxi::{Compression, PxiError, PxiFile, PxiWriter, WriteOptions, hex};

/// What a payload begins with.
const MAGIC: [u8; 8] = *b"PXI-KV\0\0";

/// The version of the layout.
const VERSION: u32 = 1;

/// Bytes before the tokens.
const HEAD_LEN: usize = 128;

/// Bytes of a pixel.
const PIXEL: usize = 3;

/// A file of keys and values, its head read. Its rows have not been looked at.
#[derive(Debug)]
pub(super) struct PrefixFile {
    file: PxiFile,
    pub key: PrefixKey,
    pub tokens: Vec<u32>,
    stride: usize,
    first_row: usize,
}

/// Why a file is no kept prefix that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrefixFileError {
    #[error("{0}")]
    Pxi(#[from] PxiError),
    #[error("it is no kept prompt")]
    Foreign,
    #[error("it is a kept prompt of layout {0}; this program reads layout {VERSION}")]
    Version(u32),
    #[error("its name is not that of what it has: it is damaged, or was renamed")]
    Name,
    #[error("its {field} is {found}, expected {expected}")]
    Field { field: &'static str, found: u64, expected: u64 },
}

/// Bytes of a row in a file: whole pixels, and at least one.
pub(super) fn stride(key: &PrefixKey) -> usize {
    key.row_bytes().next_multiple_of(PIXEL).max(PIXEL)
}

/// The name of the file of a prefix: the same for the same, whoever writes it.
pub(super) fn name(key: &PrefixKey, tokens: &[u32]) -> String {
    let mut hash = Sha256::new();
    hash.update(key.settings);
    hash.update(key.cache_type.number().to_le_bytes());
    hash.update(bytemuck::cast_slice::<u32, u8>(tokens));
    let digest: [u8; 32] = hash.finalize().into();
    format!("{}-{}.pxi", hex(&key.model[..8]), hex(&digest[..8]))
}

/// Whether a file's name is one that this program gives: no other is ever removed.
pub(super) fn is_ours(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let is_hex = |part: &str| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    stem.split_once('-').is_some_and(|(model, prompt)| is_hex(model) && is_hex(prompt))
}

/// Bytes of the file of a prefix, its own header left out.
pub(super) fn size_in_bytes(key: &PrefixKey, tokens: usize) -> u64 {
    let rows = 2 * u64::from(key.shape[0]) * tokens as u64;
    first_row(stride(key), tokens) as u64 + rows * stride(key) as u64
}

/// Where the rows begin: the head and the tokens fill rows of their own.
fn first_row(stride: usize, tokens: usize) -> usize {
    (HEAD_LEN + 4 * tokens).next_multiple_of(stride)
}

/// Writes the file of a prefix: whole or not at all.
///
/// # Errors
/// It cannot be written.
pub(super) fn write(
    path: &Path,
    key: &PrefixKey,
    tokens: &[u32],
    rows: &mut dyn FnMut(usize, &mut dyn Write) -> io::Result<()>,
) -> Result<(), PxiError> {
    let stride = stride(key);
    let width = (stride / PIXEL) as u32;
    let options = WriteOptions { width, compression: Compression::None };
    let mut writer = PxiWriter::create(path, options)?;
    let mut head = Vec::with_capacity(first_row(stride, tokens.len()));
    head.extend_from_slice(&MAGIC);
    let [layers, kv_heads, head_size] = key.shape;
    let count = tokens.len() as u32;
    for word in [VERSION, key.cache_type.number(), layers, kv_heads, head_size, count] {
        head.extend_from_slice(&word.to_le_bytes());
    }
    head.extend_from_slice(&key.model);
    head.extend_from_slice(&key.settings);
    head.resize(HEAD_LEN, 0);
    tokens.iter().for_each(|token| head.extend_from_slice(&token.to_le_bytes()));
    head.resize(first_row(stride, tokens.len()), 0);
    let written = writer.write_all(&head).and_then(|()| rows(stride, &mut writer));
    written.map_err(|error| PxiError::Io { action: "write", source: error }.at(path))?;
    writer.finish().map(drop)
}

impl PrefixFile {
    /// Reads what a file is of. Every size is checked against the file's length before anything is
    /// allocated.
    ///
    /// # Errors
    /// It is no such file.
    pub fn open(path: &Path) -> Result<Self, PrefixFileError> {
        let file = PxiFile::open(path)?;
        let payload = file.payload()?;
        let head = payload.get(..HEAD_LEN).filter(|head| head.starts_with(&MAGIC));
        let head = head.ok_or(PrefixFileError::Foreign)?;
        let words: Vec<u32> =
            head[8..32].as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let &[version, number, layers, kv_heads, head_size, count] = words.as_slice() else {
            return Err(PrefixFileError::Foreign);
        };
        if version != VERSION {
            return Err(PrefixFileError::Version(version));
        }
        let field = |field, found: u64, expected| PrefixFileError::Field { field, found, expected };
        let all = CacheType::ALL;
        let Some(&cache_type) = all.get(number as usize) else {
            return Err(field("cache type", number.into(), all.len() as u64 - 1));
        };
        // In 64 bits, of which a row of any model takes few.
        let row = u64::from(kv_heads) * cache_type.row_bytes(head_size.into());
        let stride = row.next_multiple_of(PIXEL as u64).max(PIXEL as u64);
        let tokens_end = HEAD_LEN as u64 + 4 * u64::from(count);
        let first_row = tokens_end.next_multiple_of(stride);
        let rows = 2 * u128::from(layers) * u128::from(count) * u128::from(stride);
        let expected = u128::from(first_row) + rows;
        if expected != payload.len() as u128 {
            let expected = u64::try_from(expected).unwrap_or(u64::MAX);
            return Err(field("length", payload.len() as u64, expected));
        }
        let part = |from: usize| <[u8; 32]>::try_from(&head[from..from + 32]).unwrap_or_default();
        let (model, settings) = (part(32), part(64));
        let tokens = payload[HEAD_LEN..tokens_end as usize].as_chunks().0;
        let tokens: Vec<u32> = tokens.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let key = PrefixKey { model, settings, cache_type, shape: [layers, kv_heads, head_size] };
        // A head that was damaged may look as one of another prompt, which nobody would read.
        if is_ours(path) && path.file_name().is_none_or(|own| own != name(&key, &tokens).as_str()) {
            return Err(PrefixFileError::Name);
        }
        let (stride, first_row) = (stride as usize, first_row as usize);
        Ok(Self { file, key, tokens, stride, first_row })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Checks every byte against the file's checksum.
    ///
    /// # Errors
    /// It is damaged.
    pub fn verify(&self) -> Result<(), PrefixFileError> {
        Ok(self.file.verify()?)
    }

    /// How many positions its rows are of, a row's bytes, and the rows, as
    /// [`Engine::import_prefix`](crate::engine::Engine::import_prefix) takes them.
    ///
    /// # Errors
    /// The file is compressed, which `open` has refused.
    pub fn rows(&self) -> Result<(usize, usize, &[u8]), PrefixFileError> {
        Ok((self.tokens.len(), self.stride, &self.file.payload()?[self.first_row..]))
    }
}

/// The kept prompts of a folder: every `.pxi` file in it, in the order of their names.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "pxi"))
        .collect();
    files.sort();
    Ok(files)
}
