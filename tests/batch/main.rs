//! Batches: requests, the schedule, sampling, results, and runs that are cut short.

#[path = "../common/mod.rs"]
mod common;

mod cli;
mod drafts;
mod failures;
mod output;
mod requests;
mod run;
mod sampling;
mod schedule;
