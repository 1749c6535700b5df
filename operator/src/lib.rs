//! The Launchway operator.
