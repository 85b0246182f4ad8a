//! Batches: from lines of requests to lines of results.
//!
//! In: requests (a file of JSON lines, or prompts of the command line), a [`TextModel`] and an
//! [`Engine`](crate::engine::Engine). Out: one result per request, and [`Progress`] to draw.
//!
//! Read in this order: [`request`] (what may be asked, and how a line is read), [`input`] (a whole
//! file checked before the first request runs), [`source`] (requests that come one by one),
//! [`text`] and [`stop`] (tokens to text, and where a text ends), [`schedule`] (many requests over
//! few slots), [`draft`] (tokens that are guessed and checked several at once), [`prefixes`]
//! (prompts kept on disk), [`output`] (result lines, and resuming), [`progress`], and
//! [`run`](run()), which ties them together. Beside the requests, [`perplexity`] scores a text, and
//! [`signs`] tells a template's control tokens from what messages say.
//!
//! [`ModelText`] is the text side of a model file. Nothing here knows Bevy or a GPU.

pub mod answer;
mod choices;
pub mod draft;
mod follow;
mod forms;
pub mod input;
mod model_text;
pub mod output;
pub mod perplexity;
pub mod prefixes;
pub mod progress;
pub mod request;
mod run;
pub mod schedule;
pub mod signs;
pub mod source;
pub mod stop;
pub mod text;

pub use answer::{Answer, Failure, FinishReason, ScoredToken};
pub use draft::{DraftModel, DraftSource};
pub use follow::FollowedLines;
pub use input::{InputError, InputFile, LineError, Shard};
pub use model_text::ModelText;
pub use output::{OutputError, OutputFile};
pub use progress::{Progress, ProgressSnapshot};
pub use request::{Defaults, Request};
pub(crate) use run::run_on;
pub use run::{RunError, RunOutcome, RunReport, run, run_from};
pub use schedule::{RequestEvent, Scheduler};
pub use source::{NextRequest, RefusedLine, RequestSource};
pub use text::{Chat, Decode, Message, Prompt, TextError, TextModel};
