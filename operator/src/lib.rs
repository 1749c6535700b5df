//! The Launchway operator, its workers and its kubectl plugin: everything that runs, in one binary.
//!
//! The map of the code (docs/architecture.md shows the way of an execution through it):
//!
//! * [`plan`] decides, purely: facts in, actions and status out.
//! * [`render`] says what each Kubernetes object looks like, purely.
//! * [`gate`] turns what was measured into a decision, purely.
//! * [`image`] turns zips into image bytes, purely.
//! * [`observe`] reads; [`effects`] writes, and nothing else does.
//! * [`outline`] is what is kept in memory of objects that are watched: enough to know whom a change concerns.
//! * [`controllers`] wire these into rounds; [`operator_command`] is the frame around them.
//! * [`attest`] says, purely, where a release comes from and what is in it.
//! * [`registry`], [`artifact`] and [`release`] speak to registries; [`build`] makes releases; [`worker`] is what Jobs run.
//! * [`webhook`] hears from Git servers and registries that something has changed.
//! * [`cli`] is what people type.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")
)]

// Models that several tests share name the crate as tests outside of it do.
#[cfg(test)]
extern crate self as launchway_operator;

pub mod artifact;
pub mod attest;
pub mod build;
pub mod build_record;
pub mod cli;
pub mod client;
pub mod config;
pub mod context;
pub mod controllers;
pub mod effects;
pub mod error;
pub mod flux;
pub mod gate;
pub mod git;
pub mod image;
pub mod inputs;
pub mod lease;
pub mod metrics;
pub mod notify;
pub mod observe;
pub mod operator_command;
pub mod outline;
pub mod plan;
pub mod registry;
pub mod release;
pub mod render;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod text;
pub mod webhook;
pub mod worker;

/// What several tests need.
#[cfg(test)]
pub(crate) mod tests_support {
    /// A client for servers inside a test. TLS is set up although it is not used: reqwest asks for it.
    pub fn http() -> reqwest::Client {
        tls();
        reqwest::Client::builder().no_proxy().build().unwrap()
    }

    /// Installs the process's TLS provider, once.
    pub fn tls() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
