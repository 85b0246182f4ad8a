//! What all connections share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::keys::ApiKeys;
use super::metrics::ServerMetrics;
use super::queue::RequestQueue;
use crate::batch::{Defaults, ModelText};
use crate::engine::Capacity;

/// A model that is open, as connections see it.
#[derive(Debug)]
pub struct ServedModel {
    /// Its tokenizer and chat template.
    pub text: Arc<ModelText>,
    /// The name under which requests ask for it.
    pub name: String,
    /// The names under which they ask for it with one adapter, by the adapters' order.
    pub adapters: Vec<String>,
    /// What a request gets where it does not say.
    pub defaults: Defaults,
    /// What its engine holds.
    pub capacity: Capacity,
    /// What computes, in a few words.
    pub device: String,
    /// Its root hash in hexadecimal.
    pub root: String,
    /// When it was opened, in seconds since 1970.
    pub created: i64,
}

/// What all connections of a server share.
pub struct ServerState {
    pub(super) queue: Arc<RequestQueue>,
    pub(super) metrics: Arc<ServerMetrics>,
    pub(super) keys: Option<ApiKeys>,
    pub(super) model: OnceLock<ServedModel>,
    /// Makes the ids of this server's requests its own.
    seed: u64,
    requests: AtomicU64,
}

impl ServerState {
    /// The state of a server whose model is not open yet. Without keys anybody may ask.
    pub fn new(
        queue: Arc<RequestQueue>,
        metrics: Arc<ServerMetrics>,
        keys: Option<ApiKeys>,
    ) -> Self {
        let now = jiff::Timestamp::now().as_nanosecond();
        // The time and the process tell two servers apart; nothing secret hangs on it.
        let seed = (now as u64) ^ u64::from(std::process::id()).rotate_left(32);
        let (model, requests) = (OnceLock::new(), AtomicU64::new(0));
        Self { queue, metrics, keys, model, seed, requests }
    }

    /// Gives the model to answer with. From then on requests are taken; a second one changes
    /// nothing.
    pub fn open(&self, model: ServedModel) {
        let _ = self.model.set(model);
    }

    /// An id that no other request of a server has. Requests without a seed draw by it.
    pub(super) fn next_id(&self) -> String {
        format!("{:016x}-{}", self.seed, self.requests.fetch_add(1, Ordering::Relaxed))
    }
}
