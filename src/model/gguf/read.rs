//! An open model: one file, or all the files of a split one.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::check::{check_names, check_vocabulary};
use super::error::{At, GgufError};
use super::split::{self, Split};
use super::{GgufHeader, GgufTensor, Metadata, Result};
use crate::files::open_regular;
use crate::pxi::positioned::read_exact_at;

/// An open GGUF model, whose header is read and checked and whose tensors' bytes are read on
/// demand.
#[derive(Debug)]
pub struct Gguf {
    parts: Vec<GgufPart>,
    version: u32,
    alignment: u64,
    metadata: Metadata,
    tensors: Vec<GgufTensor>,
}

#[derive(Debug)]
struct GgufPart {
    path: PathBuf,
    file: File,
}

impl Gguf {
    /// Opens a file; where it is a part of a split model, opens all parts, which lie beside it.
    ///
    /// # Errors
    /// Where a file cannot be read, is not valid or is missing. The error names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (part, header) = open_part(path)?;
        let gguf = match Split::of(&header.metadata).in_file(path)? {
            None => Self::whole(part, header),
            Some(split) => Self::join(path, &split)?,
        };
        // After joining: the tokens are in the first part, the embedding may be in another.
        check_vocabulary(&gguf.metadata, &gguf.tensors).in_file(&gguf.parts[0].path)?;
        Ok(gguf)
    }

    fn whole(part: GgufPart, header: GgufHeader) -> Self {
        let GgufHeader { version, alignment, metadata, tensors, .. } = header;
        Self { parts: vec![part], version, alignment, metadata, tensors }
    }

    /// Opens all parts of the split that the part at `path` describes. The metadata is that of the
    /// first part, without the keys that describe the split.
    fn join(path: &Path, split: &Split) -> Result<Self> {
        let paths = split.paths(path).in_file(path)?;
        // All that are missing are told at once, before any other part is opened.
        let missing: Vec<PathBuf> = paths.iter().filter(|path| !path.is_file()).cloned().collect();
        if !missing.is_empty() {
            return Err(GgufError::MissingParts { count: split.count, missing }).in_file(path);
        }
        let mut joined: Option<Self> = None;
        for (number, path) in paths.iter().enumerate() {
            let (part, mut header) = open_part(path)?;
            let found = Split::of(&header.metadata).in_file(path)?;
            split.check_part(number as u64, found.as_ref()).in_file(path)?;
            header.tensors.iter_mut().for_each(|tensor| tensor.part = number);
            match &mut joined {
                None => joined = Some(Self::whole(part, header)),
                Some(joined) => {
                    joined.parts.push(part);
                    joined.tensors.append(&mut header.tensors);
                }
            }
        }
        let mut joined = joined.expect("a split has two parts or more");
        // Each part has been checked by itself; only together can a name stand twice.
        check_names(&joined.tensors).in_file(path)?;
        split.check_tensors(joined.tensors.len() as u64).in_file(path)?;
        joined.metadata = joined.metadata.without(&split::KEYS);
        Ok(joined)
    }

    /// The version of the (first) file: 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The alignment of tensors in the (first) file.
    #[must_use]
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// The metadata pairs, in the order of the (first) file.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors, in the order of the header, part after part.
    #[must_use]
    pub fn tensors(&self) -> &[GgufTensor] {
        &self.tensors
    }

    /// The tensor of this name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The files, in order.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }

    /// The size of all files in bytes.
    ///
    /// # Errors
    /// Where the system does not tell it.
    pub(crate) fn file_size_in_bytes(&self) -> std::io::Result<u64> {
        self.parts.iter().map(|part| Ok(part.file.metadata()?.len())).sum()
    }

    /// Fills `bytes` from byte `offset` of a tensor. Many threads may read at once.
    ///
    /// # Errors
    /// Where the range is not inside the tensor, or the file cannot be read.
    ///
    /// # Panics
    /// Where `tensor` is of another model with more parts.
    pub fn read_at(&self, tensor: &GgufTensor, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let part = &self.parts[tensor.part];
        let len = bytes.len() as u64;
        let outside = || GgufError::OutsideTensor { offset, len, tensor_len: tensor.len };
        let inside = offset.checked_add(len).is_some_and(|end| end <= tensor.len);
        let result = if inside {
            // No overflow: the header's check put the whole tensor inside the file.
            read_exact_at(&part.file, bytes, tensor.offset + offset)
                .map_err(GgufError::io("read a tensor"))
        } else {
            Err(outside())
        };
        // Searched for after an error alone, since a conversion reads once for each band.
        let index =
            || self.tensors.iter().position(|other| other == tensor).unwrap_or_default() as u64;
        result.or_else(|error| Err(error).in_tensor(index(), &tensor.name).in_file(&part.path))
    }

    /// All bytes of a tensor.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read(&self, tensor: &GgufTensor) -> Result<Vec<u8>> {
        let len = usize::try_from(tensor.len)
            .map_err(|_| GgufError::SizeOverflow { dims: tensor.dims.clone() })?;
        let mut bytes = vec![0; len];
        self.read_at(tensor, 0, &mut bytes)?;
        Ok(bytes)
    }
}

fn open_part(path: &Path) -> Result<(GgufPart, GgufHeader)> {
    let open = || {
        let file = open_regular(path).map_err(GgufError::io("open the file"))?;
        let file_len = file.metadata().map_err(GgufError::io("learn the file's length"))?.len();
        let header = GgufHeader::read(BufReader::with_capacity(1 << 16, &file), file_len)?;
        Ok((GgufPart { path: path.to_owned(), file }, header))
    };
    open().in_file(path)
}
