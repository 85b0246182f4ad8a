//! Result lines, and the file they go to.
//!
//! Comes in: what became of each request. Goes out: one line per request in the OpenAI batch result
//! shape, each written whole. A run that is killed leaves at most one torn line;
//! [`OutputFile::open`] cuts it off, reads which requests are finished, and goes on behind them.

mod file;
mod place;
mod result;
mod resume;

pub use file::{Existing, OutputError, OutputFile, Resumed};
pub use result::{ResultContext, result_line, result_line_of};
pub(crate) use result::{bad_line, refused_line};
#[cfg(feature = "serve")]
pub(crate) use result::{chunk_calls, chunk_logprobs, response_body, response_id, usage};
pub(crate) use resume::{FinishedLine, ResumeVerdict};
