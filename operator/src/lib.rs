//! The Launchway operator, its workers and its kubectl plugin: everything that runs, in one binary.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed"))]

pub mod cli;
pub mod client;
pub mod config;
pub mod lease;
pub mod metrics;
pub mod operator_command;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod text;
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
