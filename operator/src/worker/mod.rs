//! What Jobs do: one task, no access to the apiserver, and one small outcome in the termination log.

pub mod build;
pub mod smoke;
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
    /// Ask pages of stage and compare their answers with what the pipeline expects
    ///
    /// Reads the checks from LAUNCHWAY_SMOKE: {"url":…,"host":…,"checks":[{"path":…,"status":…,"contains":…}],"timeoutSeconds":…}.
    SmokeTest,
}

impl Worker {
    /// Does the task.
    pub async fn run(self) -> ExitCode {
        match self {
            Self::BuildImage => build::main().await,
            Self::SmokeTest => smoke::run().await,
        }
    }
}
