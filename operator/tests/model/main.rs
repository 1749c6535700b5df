//! The planner of executions against every order in which things can happen: exhaustively in small worlds (`exhaustive`),
//! at random in larger ones (`random`). `make model` looks further than the ordinary tests do.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that panics has failed")]

mod cluster;
mod facts;
mod luck;
mod mutants;
mod promises;
mod random;
mod rollouts;
mod site;
