//! The trace: what agents did, tick by tick, as lines of JSON. The same seed gives the same lines.

use std::io::{self, Write};

use serde::Serialize;

use crate::agents::{AgentId, Board, Consideration, JobId, Worth};

/// Something that happened to an agent.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Incident {
    /// It takes a job and goes there.
    Takes {
        /// The job that it takes.
        job: JobId,
        /// What the job is worth to it, and why.
        worth: Worth,
    },
    /// On its way it leaves its job for another.
    Leaves {
        /// The job that it leaves.
        job: JobId,
    },
    /// It begins to work.
    Begins {
        /// The job that it works on.
        job: JobId,
    },
    /// Its job is done.
    Finishes {
        /// The job that is done.
        job: JobId,
    },
    /// Its attempt at a job failed.
    Fails {
        /// The job that it tried.
        job: JobId,
        /// Whether it can be taken again.
        again: bool,
    },
    /// Its task goes back to the coach's queue, which says what is next.
    Returns {
        /// The job whose task it is.
        job: JobId,
    },
    /// It gives its job back with what is left of it.
    HandsOver {
        /// The job that it gives back.
        job: JobId,
    },
    /// It begins to rest.
    Rests,
}

/// What happened, when and to whom.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceEntry {
    /// The tick in which it was.
    pub tick: u64,
    /// The agent that did it.
    pub agent: AgentId,
    /// What the agent did.
    pub incident: Incident,
}

/// What happened since the trace was last written.
#[derive(Debug, Default)]
#[cfg_attr(feature = "world", derive(bevy::prelude::Resource))]
pub struct SimulationTrace {
    /// Whether anything is noted. Nobody reads it in the window, where it would grow for ever.
    pub enabled: bool,
    entries: Vec<TraceEntry>,
}

#[derive(Serialize)]
struct TraceLine<'a> {
    tick: u64,
    agent: &'a str,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Why>,
    #[serde(skip_serializing_if = "Option::is_none")]
    again: Option<bool>,
}

/// The appeal of each consideration.
struct Why([f32; Consideration::COUNT]);

impl Serialize for Why {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Consideration::ALL.map(Consideration::name).iter().zip(self.0))
    }
}

impl SimulationTrace {
    /// A trace that notes what happens.
    pub const fn enabled() -> Self {
        Self { enabled: true, entries: Vec::new() }
    }

    /// What happened since it was last written.
    pub fn entries(&self) -> &[TraceEntry] {
        &self.entries
    }

    #[cfg(feature = "world")]
    pub(crate) fn note(&mut self, tick: u64, agent: AgentId, incident: Incident) {
        if self.enabled {
            self.entries.push(TraceEntry { tick, agent, incident });
        }
    }

    /// Writes what happened, a line of JSON each, and forgets it. `name` is what an agent is
    /// called.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write<'a>(
        &mut self,
        to: &mut impl Write,
        board: &'a Board,
        name: impl Fn(AgentId) -> &'a str,
    ) -> io::Result<()> {
        for TraceEntry { tick, agent, incident } in self.entries.drain(..) {
            let task = |job: JobId| Some(board.entry(job).job.task.as_str());
            let mut line = TraceLine {
                tick,
                agent: name(agent),
                event: "",
                task: None,
                score: None,
                why: None,
                again: None,
            };
            (line.event, line.task) = match incident {
                Incident::Takes { job, worth } => {
                    line.score = Some(worth.score);
                    line.why = Some(Why(worth.appeals));
                    ("takes", task(job))
                }
                Incident::Leaves { job } => ("leaves", task(job)),
                Incident::Begins { job } => ("begins", task(job)),
                Incident::Finishes { job } => ("finishes", task(job)),
                Incident::Fails { job, again } => {
                    line.again = Some(again);
                    ("fails", task(job))
                }
                Incident::Returns { job } => ("returns", task(job)),
                Incident::HandsOver { job } => ("hands_over", task(job)),
                Incident::Rests => ("rests", None),
            };
            serde_json::to_writer(&mut *to, &line)?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }
}
