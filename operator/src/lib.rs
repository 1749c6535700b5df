//! The Launchway operator.

pub mod artifact;
pub mod image;
pub mod registry;
pub mod release;
pub mod worker;
