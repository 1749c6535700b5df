//! What a Git server says of its refs, asked by smart HTTP as `git ls-remote` does (`gitprotocol-http`,
//! `gitprotocol-v2`), and why it does not.
//!
//! Only names and hashes of refs are read here, each answer bounded. Objects of a repository never come into the
//! operator: a Job fetches them (docs/decisions/0007).

mod client;
mod fault;
mod pkt;
mod refs;
mod request;
mod transport;

pub use client::{Login, Server};
pub use fault::{FaultKind, GitFault};
pub use refs::{Advertised, Ref, advertisement, listed};
pub use transport::Transport;
