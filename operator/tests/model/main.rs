//! The planners against random histories (`random`, `rollouts`), and planners with one defect each that those histories
//! have to find (`mutants`). `make model` plays more of them, and visits every order of events in small worlds (`model/`).
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that panics has failed")]

mod cluster;
mod facts;
mod luck;
mod mutants;
mod promises;
mod random;
mod rollouts;
mod site;
