//! The part of the registry client that reads answers.

#[path = "../../../operator/src/registry/auth.rs"]
pub mod auth;
#[path = "../../../operator/src/registry/credentials.rs"]
pub mod credentials;
#[allow(dead_code, reason = "the client, which makes most of them, is not here")]
#[path = "../../../operator/src/registry/error.rs"]
pub mod error;
#[path = "../../../operator/src/registry/repository.rs"]
pub mod repository;

pub use credentials::Credentials;
pub use repository::Repository;
