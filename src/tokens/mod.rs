//! 7  Tokens: from lines of requests to lines of results.
//!
//! Comes in: requests (a file of JSON lines, or prompts of the command line), a [`TextModel`] and an [`Engine`].
//! Goes out: one result per request, and [`Progress`] to draw.
//!
//! Read in this order: [`request`] (what may be asked, and how a line is read), [`input`] (a whole file checked
//! before the first request runs), [`sampling`] (how a token is chosen), [`engine`] (what runs a model),
//! [`text`] and [`stop`] (tokens to text, and where a text ends), [`schedule`] (many requests over few slots),
//! [`output`] (result lines, and resuming), [`progress`], and [`run`](run()), which ties them together. Beside the
//! requests, [`perplexity`] scores a text, [`signs`] tells a template's control tokens from what messages say, and a [`Profile`] tells where the time goes.
//!
//! [`CpuEngine`] and [`ModelText`] are the engine and the text side of a model file. Nothing here knows Bevy or a
//! GPU.

pub mod answer;
mod cpu_engine;
pub mod engine;
pub mod input;
mod model_text;
pub mod output;
pub mod perplexity;
mod profile;
pub mod progress;
pub mod request;
mod run;
pub mod sampling;
pub mod schedule;
pub mod signs;
pub mod stop;
pub mod text;

pub use answer::{Answer, Failure, FinishReason, ScoredToken};
pub use cpu_engine::CpuEngine;
pub use engine::{Ask, AskKind, Batch, Capacity, Column, Engine, EngineError, PrefixCopy, Sampled, answer};
pub use input::{InputError, InputFile, LineError};
pub use model_text::ModelText;
pub use output::{OutputError, OutputFile};
pub use profile::{Profile, Stage};
pub use progress::{Progress, Snapshot};
pub use request::{Defaults, Request};
pub use run::{Outcome, Report, RunError, run, run_on};
pub use sampling::SamplingParams;
pub use schedule::{Event, Scheduler};
pub use text::{Chat, Decode, Message, Prompt, TextError, TextModel};
