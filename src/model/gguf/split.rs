//! Split models: `name-00001-of-00003.gguf` and its siblings.
//!
//! The first part has the model's metadata; every part says its number and their count in
//! `split.no` (from 0) and `split.count`, and has tensors of its own. The names of all parts follow
//! from the name of any.

use std::path::{Path, PathBuf};

use super::error::GgufError;
use super::{Metadata, Result};

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";
/// The keys that describe the files and not the model; they end with the split.
pub(super) const KEYS: [&str; 3] = [NUMBER, COUNT, TENSORS];

/// What a part says about the split.
pub(super) struct Split {
    number: u64,
    pub(super) count: u64,
    tensors: Option<u64>,
}

impl Split {
    /// What `metadata` says, or `None` for a file that is whole.
    pub(super) fn of(metadata: &Metadata) -> Result<Option<Self>> {
        // `llama-gguf-split --merge` leaves a count of 0 in the file that it makes whole.
        let count = u64::from(metadata.u32(COUNT)?.unwrap_or(0));
        if count <= 1 {
            return Ok(None);
        }
        // The format's own type for the count; it bounds how many files are looked for.
        if count > u64::from(u16::MAX) {
            let key = COUNT.to_owned();
            return Err(GgufError::OutOfRange { key, found: count.into(), expected: "u16" });
        }
        let number = metadata.u64(NUMBER)?.ok_or_else(|| GgufError::missing(NUMBER))?;
        if number >= count {
            return Err(GgufError::SplitNumber { number, count });
        }
        Ok(Some(Self { number, count, tensors: metadata.u64(TENSORS)? }))
    }

    /// The paths of all parts, in order, from the path of this one.
    pub(super) fn paths(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let suffix = |number: u64| format!("-{:05}-of-{:05}.gguf", number + 1, self.count);
        let wrong_name = || GgufError::SplitName {
            number: self.number + 1,
            count: self.count,
            expected: suffix(self.number),
        };
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(wrong_name)?;
        let stem = name.strip_suffix(&suffix(self.number)).ok_or_else(wrong_name)?;
        Ok((0..self.count)
            .map(|number| path.with_file_name(format!("{stem}{}", suffix(number))))
            .collect())
    }

    /// Refuses a part that is not part `number` of the same split as this one.
    pub(super) fn check_part(&self, number: u64, part: Option<&Self>) -> Result<()> {
        // A file without these keys is one part of one, and the message says so.
        let (found_number, found_count) = part.map_or((0, 1), |part| (part.number, part.count));
        for (key, found, expected) in
            [(COUNT, found_count, self.count), (NUMBER, found_number, number)]
        {
            if found != expected {
                return Err(GgufError::SplitDisagrees { key, found, expected });
            }
        }
        Ok(())
    }

    /// Refuses another number of tensors, in all parts together, than this part says.
    pub(super) fn check_tensors(&self, tensors: u64) -> Result<()> {
        match self.tensors {
            Some(found) if found != tensors => {
                Err(GgufError::SplitDisagrees { key: TENSORS, found, expected: tensors })
            }
            _ => Ok(()),
        }
    }
}
