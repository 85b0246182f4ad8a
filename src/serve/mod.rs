//! An OpenAI endpoint over HTTP: what comes in by many connections goes through one queue to the
//! one loop of batches, and comes back as JSON or as server-sent events.
//!
//! Comes in: a listening socket, a [`ModelText`](crate::batch::ModelText) and an
//! [`Engine`](crate::engine::Engine). Goes out: responses. The engine and the scheduler stay on the
//! caller's thread ([`answer_queue`]); HTTP has a thread of its own ([`HttpServer`]), and nothing
//! below this folder knows of it.
//!
//! Read in this order: [`queue`](RequestQueue) (what waits), [`api`] (bodies to requests, errors to
//! bodies), [`answering`](answer_queue) (the loop's side), [`chunks`] (text to events), [`routes`]
//! (paths to answers), [`listen`] (connections), [`metrics`](ServerMetrics), [`keys`](ApiKeys).
//! `specs/serve.md` says what is promised.

mod answering;
mod api;
mod chunks;
mod keys;
mod listen;
mod metrics;
mod queue;
mod routes;
mod state;
mod vocabulary;

pub use answering::answer_queue;
pub use keys::{ApiKeys, KeyFileError};
pub use listen::{HttpServer, ListenError};
pub use metrics::ServerMetrics;
pub use queue::RequestQueue;
pub use state::{ServedModel, ServerState};
