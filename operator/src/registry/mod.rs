//! A small registry client: the OCI distribution protocol, bounded and careful with credentials.
//!
//! Everything a registry sends is untrusted: bodies are capped, content is verified against its digest, redirects and
//! upload addresses never carry credentials to another host, and every wait has an end.

mod answer;
pub mod auth;
mod authorities;
pub mod blob;
pub mod client;
mod credentials;
pub mod error;
mod location;
mod login;
mod manifests;
mod patience;
mod referrers;
mod removal;
pub mod repository;
mod send;
mod source;
mod tags;
pub mod upload;

pub use authorities::Authorities;
pub use client::{Client, ClientOptions, FetchedManifest};
pub use credentials::{Credential, Credentials};
pub use error::{ErrorKind, RegistryError};
pub use location::Location;
pub use patience::Patience;
pub use referrers::{Listed, Referrer, fallback_tag};
pub use repository::Repository;
pub use source::BlobSource;
pub use tags::MAX_TAGS;
pub use upload::Pushed;

/// Told about bytes that move, for progress bars and log lines. All methods may be called from any thread.
pub trait Progress: Send + Sync {
    /// A transfer starts.
    fn start(&self, _name: &str, _total: u64) {}
    /// Bytes have moved.
    fn advance(&self, _name: &str, _bytes: u64) {}
    /// A transfer starts again from this many bytes.
    fn rewind(&self, _name: &str, _to: u64) {}
    /// A transfer has ended; the text says how.
    fn finish(&self, _name: &str, _how: &str) {}
}

/// Reports nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
