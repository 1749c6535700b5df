//! Reads, and nothing else: the facts that [`crate::plan`] decides on.
//!
//! Objects are read live, not from a cache of this process: a decision to deploy must not rest on what was true a
//! while ago. What wakes the operator is watched; what it decides on is read, lists by the rule of [`fresh`].

pub mod batch;
mod build_end;
mod configuration;
pub mod environment;
pub mod execution;
mod executions;
pub mod flux;
pub mod fresh;
mod further;
pub mod git;
mod guard;
pub mod images;
mod job;
mod lock;
mod log;
pub mod memory;
pub mod pipeline;
mod pods;
mod readiness;
pub mod registry;
pub mod scan_end;
mod sets;
pub mod source;
pub mod test_end;
mod traffic;
pub mod webhook;

use jiff::{Timestamp, Unit};

/// The present moment in whole seconds, the precision of timestamps in objects.
#[must_use]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc)).unwrap_or(now)
}
