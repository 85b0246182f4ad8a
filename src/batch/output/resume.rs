//! What an output file already holds.

use std::io::{self, BufRead};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::result::LINE_BEGINS;
use crate::batch::input::IdHash;

/// A whole line of an output file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FinishedLine {
    /// The hash of its id.
    pub id: IdHash,
    /// Its `custom_id`, as it stands there.
    pub name: String,
    /// Whether it is an error.
    pub failed: bool,
    /// The digests of the request and of the model that it answers, where it says so.
    pub answers: Option<(String, String)>,
    /// The model's name, where it is an answer.
    pub model: Option<String>,
}

/// What is to become of a line that is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumeVerdict {
    /// It stays, and its request is done.
    Keep,
    /// It stays, and belongs to no request of the input.
    Stranger,
    /// It goes, and its request runs again.
    Again,
}

/// What the lines of an output file came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// The length up to the end of the last whole line.
    pub whole_in_bytes: u64,
    /// The length of what follows: a line that was being written when its run was killed.
    pub torn_in_bytes: u64,
}

/// Why a file is no output of this program.
#[derive(Debug)]
pub(super) enum ScanError {
    Read(io::Error),
    /// A line that is no result line.
    Foreign {
        line: u64,
    },
}

// Only what resuming reads: lines of other versions may have more fields.
#[derive(Deserialize)]
struct EarlierLine<'a> {
    #[serde(borrow)]
    custom_id: std::borrow::Cow<'a, str>,
    response: Option<EarlierResponse>,
    error: Option<IgnoredAny>,
    answers: Option<EarlierAnswers>,
}

#[derive(Deserialize)]
struct EarlierResponse {
    status_code: u16,
    body: Option<EarlierBody>,
}

#[derive(Deserialize)]
struct EarlierBody {
    model: Option<String>,
}

#[derive(Deserialize)]
struct EarlierAnswers {
    request: String,
    model: String,
}

/// Reads every line; `each` is given the whole ones with their bytes.
pub(super) fn scan(
    mut reader: impl BufRead,
    mut each: impl FnMut(FinishedLine, &[u8]) -> io::Result<()>,
) -> Result<Extent, ScanError> {
    let mut extent = Extent::default();
    let mut buffer = Vec::new();
    for number in 1.. {
        buffer.clear();
        let len = reader.read_until(b'\n', &mut buffer).map_err(ScanError::Read)?;
        if len == 0 {
            break;
        }
        if buffer.last() != Some(&b'\n') {
            // Only what can be the beginning of a result line may be cut off: the file may be
            // another's.
            let begins = LINE_BEGINS.as_bytes();
            if !buffer.starts_with(begins) && !begins.starts_with(&buffer) {
                return Err(ScanError::Foreign { line: number });
            }
            extent.torn_in_bytes = len as u64;
            break;
        }
        let line: EarlierLine<'_> =
            serde_json::from_slice(&buffer).map_err(|_| ScanError::Foreign { line: number })?;
        let failed = line.error.is_some()
            || line.response.as_ref().is_none_or(|response| response.status_code != 200);
        let finished = FinishedLine {
            id: IdHash::of(&line.custom_id),
            name: line.custom_id.into_owned(),
            failed,
            answers: line.answers.map(|answers| (answers.request, answers.model)),
            model: line.response.and_then(|response| response.body).and_then(|body| body.model),
        };
        each(finished, &buffer).map_err(ScanError::Read)?;
        extent.whole_in_bytes += len as u64;
    }
    Ok(extent)
}
