//! The Launchway operator.

pub mod image;
