//! The compute set: a model larger than the memory that its tiles may take goes through a pool of
//! slots.
//!
//! In: a model and a cap in bytes. Out: [`Pool`], whose page textures the kernels' bind groups are
//! made with once, and which brings tiles into them just ahead of the dispatches that read them. A
//! thread of its own reads and verifies, the caller records copies and submits.

mod embedding_rows;
mod plan;
mod pool;
mod prefetcher;

pub use plan::{Limits, Part, Plan, PlanError, StreamTuning, Unit, weights_in_bytes};
pub use pool::{Pass, Pool, PoolError};
