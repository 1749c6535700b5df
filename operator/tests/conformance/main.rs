//! What Cloud Manager's documents say, what Launchway does, and which test proves it.
//!
//! The rows are data; `docs/conformance.md` is generated from them (`document`), every test that they name has to exist
//! (`proofs`), and what only a table over all steps or kinds of pipelines can show is shown in `planner`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that panics has failed")]

mod around;
mod deploying;
mod document;
mod matrix;
#[path = "../support/planned.rs"]
mod planned;
mod planner;
mod proofs;
mod row;
mod split;
