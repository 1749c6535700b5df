//! API types of Launchway.

pub mod digest;
