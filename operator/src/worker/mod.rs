//! What Jobs do: one task, no access to the apiserver, and one small outcome in the termination log.

pub mod build;
pub mod checkout;
pub mod code_quality;
pub mod collect;
mod frame;
pub(crate) mod http;
pub mod install;
pub mod measured;
pub mod pack;
pub mod performance;
pub mod publish;
pub mod resolve;
pub mod security;
pub mod smoke;
#[cfg(test)]
pub(crate) mod testing;
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
    /// Copy this program to where containers of other images find it
    ///
    /// Reads the folder from LAUNCHWAY_INSTALL.
    Install,
    /// Ask a Git server which commit a ref is
    ///
    /// Reads the request from LAUNCHWAY_RESOLVE; see docs/builds.md.
    Resolve,
    /// Check one commit of a repository out
    ///
    /// Reads the request from LAUNCHWAY_FETCH; see docs/builds.md.
    Fetch,
    /// Count what tests a build ran, and push its packages
    ///
    /// Reads the request from LAUNCHWAY_PACK; see docs/builds.md.
    Pack,
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
            Self::Install => install::run().await,
            Self::Resolve => resolve::run().await,
            Self::Fetch => checkout::run().await,
            Self::Pack => pack::run().await,
            Self::Collect => collect::run().await,
        }
    }
}
