//! The planners against random histories (`random`, `rollouts`). `make model` plays more of them, visits every order of
//! events in small worlds, and has to find the defects of the planners in `mutants.rs` (both in `model/`).
#![allow(
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    reason = "a test that panics has failed; `model/` uses the rest"
)]

mod cluster;
mod environments;
mod facts;
mod frozen;
mod luck;
mod promises;
mod random;
mod rollouts;
mod rounds;
mod shape;
mod site;
