//! The Launchway operator.

pub mod image;
pub mod registry;
