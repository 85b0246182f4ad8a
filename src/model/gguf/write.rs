//! A GGUF 3 file from metadata, tensors and a stream of their bytes, atomically.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use super::codec::{metadata_bytes, put_string, put_u32, put_u64};
use super::error::{At, GgufError};
use super::header::alignment;
use super::{GgufHeader, MAGIC, Result, VERSION, Value, align_up};
use crate::model::Encoding;
use crate::pxi::{AtomicFile, Target};

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// The dimensions in GGML's order: the first is contiguous.
    pub dims: Vec<u64>,
    /// How the weights are stored.
    pub encoding: Encoding,
}

/// Writes a file: the header at once, then the bytes of the tensors in order. The file appears
/// under its name when it is complete; dropped before that, the writer leaves nothing.
#[derive(Debug)]
pub struct GgufWriter {
    path: PathBuf,
    file: BufWriter<AtomicFile>,
    alignment: u64,
    /// The bytes of each tensor.
    lens: Vec<u64>,
    /// The tensor being written.
    current: usize,
    /// Bytes of it that are written.
    written: u64,
}

impl GgufWriter {
    /// Begins a file at `target` and writes its header. The alignment is that of
    /// `general.alignment` in `metadata`, or 32.
    ///
    /// # Errors
    /// Where the header would not be one that this module reads, or the folder cannot be written.
    pub fn create(
        target: impl Into<Target>,
        metadata: &[(String, Value)],
        tensors: &[TensorInfo],
    ) -> Result<Self> {
        let target = target.into();
        let path = target.path().to_owned();
        Self::begin(target, metadata, tensors).in_file(&path)
    }

    fn begin(target: Target, metadata: &[(String, Value)], tensors: &[TensorInfo]) -> Result<Self> {
        let alignment = alignment(metadata)?;
        let (header, file_len) = header_bytes(metadata, tensors, alignment)?;
        // The reader has all the rules, so it is asked whether it would take what is about to be
        // written.
        let parsed = GgufHeader::read(header.as_slice(), file_len)?;
        let lens = parsed.tensors.iter().map(|tensor| tensor.len).collect();

        let path = target.path().to_owned();
        let mut file = BufWriter::with_capacity(1 << 20, AtomicFile::create(target)?);
        file.write_all(&header).map_err(GgufError::io("write the header"))?;
        let mut writer = Self { path, file, alignment, lens, current: 0, written: 0 };
        // As the reader has it: a file without tensors ends with its header, without padding.
        if !writer.lens.is_empty() {
            writer.pad(header.len() as u64)?;
        }
        Ok(writer)
    }

    /// Writes the next bytes of the current tensor; when it is full, the next tensor is the current
    /// one. One call gives bytes of one tensor, all of them or a part.
    ///
    /// # Errors
    /// Where the current tensor has no room for the bytes, or they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let path = self.path.clone();
        self.write_in_tensor(bytes).in_file(&path)
    }

    fn write_in_tensor(&mut self, bytes: &[u8]) -> Result<()> {
        let len = self.lens.get(self.current).copied().unwrap_or(0);
        let more = bytes.len() as u64;
        if more > len - self.written {
            return Err(GgufError::TooManyBytes { len, written: self.written, more });
        }
        self.file.write_all(bytes).map_err(GgufError::io("write a tensor"))?;
        self.written += more;
        // Here and not at the next call: the last tensor's padding belongs to the file as well.
        if self.written == len && self.current < self.lens.len() {
            self.current += 1;
            self.written = 0;
            self.pad(len)?;
        }
        Ok(())
    }

    /// Syncs the file to disk and gives it its name. What had that name is replaced, where it may
    /// be.
    ///
    /// # Errors
    /// Where bytes of tensors are missing, or the file cannot be synced or renamed.
    pub fn finish(self) -> Result<()> {
        let path = self.path.clone();
        self.persist().in_file(&path)
    }

    fn persist(self) -> Result<()> {
        if self.current < self.lens.len() {
            let written = self.lens[..self.current].iter().sum::<u64>() + self.written;
            return Err(GgufError::Unfinished { written, expected: self.lens.iter().sum() });
        }
        // Dropping a `BufWriter` swallows the error of its last write; `into_inner` reports it.
        let file = self
            .file
            .into_inner()
            .map_err(|error| GgufError::io("write the file")(error.into_error()))?;
        Ok(file.commit()?)
    }

    /// Writes zeros from `end`, counted from an aligned place, to the next aligned place.
    fn pad(&mut self, end: u64) -> Result<()> {
        let padding = end.next_multiple_of(self.alignment) - end;
        let zeros =
            vec![0; usize::try_from(padding).expect("padding is less than the greatest alignment")];
        self.file.write_all(&zeros).map_err(GgufError::io("write padding"))
    }
}

/// The header, without padding, and the length of the whole file.
fn header_bytes(
    metadata: &[(String, Value)],
    tensors: &[TensorInfo],
    alignment: u64,
) -> Result<(Vec<u8>, u64)> {
    let mut bytes = MAGIC.to_vec();
    put_u32(&mut bytes, VERSION);
    put_u64(&mut bytes, tensors.len() as u64);
    put_u64(&mut bytes, metadata.len() as u64);
    bytes.extend(metadata_bytes(metadata));
    let mut offset: u64 = 0;
    for (index, TensorInfo { name, dims, encoding }) in (0..).zip(tensors) {
        put_string(&mut bytes, name.as_bytes());
        put_u32(&mut bytes, dims.len() as u32);
        dims.iter().for_each(|dim| put_u64(&mut bytes, *dim));
        put_u32(&mut bytes, encoding.ggml());
        put_u64(&mut bytes, offset);
        // A row that is no whole number of blocks counts for nothing here: the reader refuses it by
        // name.
        let row_bytes = dims.first().and_then(|cols| encoding.row_bytes(*cols)).unwrap_or(0);
        let len = dims.iter().skip(1).try_fold(row_bytes, |len, dim| len.checked_mul(*dim));
        offset = len
            .and_then(|len| offset.checked_add(len))
            .and_then(|end| align_up(end, alignment))
            .ok_or_else(|| GgufError::SizeOverflow { dims: dims.clone() })
            .in_tensor(index, name)?;
    }
    let data_start = if tensors.is_empty() {
        Some(bytes.len() as u64)
    } else {
        align_up(bytes.len() as u64, alignment)
    };
    let file_len = data_start.and_then(|start| start.checked_add(offset));
    let file_len = file_len.ok_or_else(|| GgufError::SizeOverflow { dims: vec![offset] })?;
    Ok((bytes, file_len))
}
