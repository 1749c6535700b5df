//! The Launchway operator.

pub mod artifact;
pub mod cli;
pub mod image;
pub mod registry;
pub mod release;
pub mod worker;
