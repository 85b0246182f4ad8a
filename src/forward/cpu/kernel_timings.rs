//! How long each kernel of a pass takes: a clock that is read after every kernel, in the passes
//! that are asked for it.

use std::time::{Duration, Instant};

/// A kernel of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Token ids to the residual stream.
    Embed,
    /// Norm, query, key and value, RoPE, and the way into the cache.
    Qkv,
    /// The heads over their keys and values.
    Attend,
    /// The attention output matrix.
    Project,
    /// Norm, gate and up, and the activation function.
    GateUp,
    /// The feed-forward block's way back.
    Down,
    /// The last norm and the output matrix.
    Logits,
}

impl Kernel {
    /// Every kernel, in the order in which a pass runs them.
    pub const ALL: [Self; 7] = [
        Self::Embed,
        Self::Qkv,
        Self::Attend,
        Self::Project,
        Self::GateUp,
        Self::Down,
        Self::Logits,
    ];

    /// Its name, the same as that of its file and of its shader.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Qkv => "qkv",
            Self::Attend => "attend",
            Self::Project => "project",
            Self::GateUp => "gate_up",
            Self::Down => "down",
            Self::Logits => "logits",
        }
    }
}

/// What each kernel has taken since the start.
#[derive(Debug, Clone)]
pub struct KernelTimings {
    last: Instant,
    laps: [Lap; Kernel::ALL.len()],
}

/// What one kernel has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lap {
    /// How often it ran.
    pub runs: u64,
    /// The time it took.
    pub time: Duration,
}

impl KernelTimings {
    /// Starts the clock, with no lap counted.
    pub fn start() -> Self {
        Self { last: Instant::now(), laps: Default::default() }
    }

    /// What a kernel has taken.
    pub fn of(&self, kernel: Kernel) -> Lap {
        self.laps[kernel as usize]
    }

    /// Counts the time since the last lap for a kernel that has just run.
    pub(super) fn lap(&mut self, kernel: Kernel) {
        let now = Instant::now();
        let lap = &mut self.laps[kernel as usize];
        lap.runs += 1;
        lap.time += now - self.last;
        self.last = now;
    }
}
