//! What Jobs do: one task, no access to the apiserver, and one small outcome in the termination log.

pub mod build;
pub mod code_quality;
pub mod collect;
mod frame;
mod http;
pub mod measured;
pub mod performance;
pub mod publish;
pub mod security;
pub mod smoke;
#[cfg(test)]
mod testing;
pub mod verdict;

use std::process::ExitCode;

use clap::Subcommand;

pub use crate::build::report;

/// The tasks.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Worker {
    /// Turn the packages of an artifact into images and a release
    ///
    /// Reads the request from LAUNCHWAY_BUILD; see docs/architecture.md.
    BuildImage,
    /// Check the packages of an artifact and measure what was found
    ///
    /// Reads the request from LAUNCHWAY_CODE_QUALITY; see docs/packages.md.
    CodeQuality,
    /// Ask pages of stage and compare their answers with what the pipeline expects
    ///
    /// Reads the checks from LAUNCHWAY_SMOKE: {"url":…,"host":…,"checks":[{"path":…,"status":…,"contains":…}],"timeoutSeconds":…}.
    SmokeTest,
    /// Ask pages of stage as many visitors do, and measure errors and response times
    ///
    /// Reads the request from LAUNCHWAY_PERFORMANCE; see docs/tests.md.
    PerformanceTest,
    /// Ask stage what an attacker would ask, and count what gets through
    ///
    /// Reads the request from LAUNCHWAY_SECURITY; see docs/tests.md.
    SecurityTest,
    /// Wait for the end of a test's container, then read and keep the reports that it left
    ///
    /// Reads the request from LAUNCHWAY_COLLECT; see docs/tests.md.
    Collect,
}

impl Worker {
    /// Does the task.
    pub async fn run(self) -> ExitCode {
        match self {
            Self::BuildImage => build::main().await,
            Self::CodeQuality => code_quality::run().await,
            Self::SmokeTest => smoke::run().await,
            Self::PerformanceTest => performance::run().await,
            Self::SecurityTest => security::run().await,
            Self::Collect => collect::run().await,
        }
    }
}
