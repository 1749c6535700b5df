//! The registry client against servers that misbehave, kind by kind: every case ends in a clear error, in bounded time,
//! after a bounded number of bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;
mod auth;
mod double;
mod referrers;
mod removal;
mod tags;
mod uploads;
