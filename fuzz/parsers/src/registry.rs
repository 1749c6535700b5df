//! The part of the registry client that reads answers.

#[path = "../../../operator/src/registry/auth.rs"]
pub mod auth;
#[allow(dead_code, reason = "the client, which makes most of them, is not here")]
#[path = "../../../operator/src/registry/error.rs"]
pub mod error;
