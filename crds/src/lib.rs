//! API types of Launchway.
