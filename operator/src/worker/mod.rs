//! What Jobs do: one task, no access to the apiserver, and one small outcome in the termination log.

pub mod smoke;

use std::{io, path::PathBuf, process::ExitCode};

use clap::Subcommand;
use launchway_crds::conditions::truncate;
use serde::Serialize;

use crate::text::printable;

/// The kubelet keeps no more of a termination log.
const OUTCOME_MAX: usize = 4096;
/// What status keeps of a message.
const MESSAGE_MAX: usize = 1024;

/// The tasks.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Worker {
    /// Ask pages of stage and compare their answers with what the pipeline expects
    ///
    /// Reads the checks from LAUNCHWAY_SMOKE: {"url":…,"host":…,"checks":[{"path":…,"status":…,"contains":…}],"timeoutSeconds":…}.
    SmokeTest,
}

impl Worker {
    /// Does the task.
    pub async fn run(self) -> ExitCode {
        match self {
            Self::SmokeTest => smoke::run().await,
        }
    }
}

/// How a task ended, as the operator reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome<T> {
    /// It is done.
    Ok(T),
    /// What the user gave is at fault.
    Failed(Reason),
    /// The platform is at fault.
    Error(Reason),
}

/// Why a task is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// One word; see `launchway_crds::conditions::reasons`.
    pub reason: String,
    /// What happened and what to do about it.
    pub message: String,
}

impl Reason {
    /// With its message cut to what status can hold. What JSON would write as `\u0000` is left out, so that an
    /// outcome always fits.
    #[must_use]
    pub fn new(reason: &str, message: &str) -> Self {
        Self { reason: reason.into(), message: truncate(&printable(message), MESSAGE_MAX) }
    }
}

impl<T: Serialize> Outcome<T> {
    /// Writes the outcome where the kubelet finds it (`LAUNCHWAY_TERMINATION_LOG`, default
    /// `/dev/termination-log`) and gives the exit code: 0, 1 for failed, 2 for error.
    #[must_use]
    pub fn conclude(&self) -> ExitCode {
        match self {
            Self::Ok(_) => {}
            Self::Failed(reason) => println!("failed: {}: {}", reason.reason, reason.message),
            Self::Error(reason) => println!("error: {}: {}", reason.reason, reason.message),
        }
        if let Err(error) = self.write(&termination_log()) {
            eprintln!("cannot write the outcome to {}: {error}", termination_log().display());
            return ExitCode::from(2);
        }
        match self {
            Self::Ok(_) => ExitCode::SUCCESS,
            Self::Failed(_) => ExitCode::from(1),
            Self::Error(_) => ExitCode::from(2),
        }
    }

    fn write(&self, path: &std::path::Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        if text.len() > OUTCOME_MAX {
            let all = text.len();
            return Err(io::Error::other(format!("it has {all} bytes and at most {OUTCOME_MAX} are kept")));
        }
        std::fs::write(path, text)
    }
}

fn termination_log() -> PathBuf {
    std::env::var_os("LAUNCHWAY_TERMINATION_LOG").map_or_else(|| "/dev/termination-log".into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_the_agreed_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let ok: Outcome<serde_json::Value> = Outcome::Ok(serde_json::json!({"checks": 2}));
        ok.write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"{"ok":{"checks":2}}"#);
        for hostile in ["\u{1}", "ü", "\"", "\n"] {
            let failed: Outcome<()> = Outcome::Failed(Reason::new("TestFailed", &hostile.repeat(5000)));
            failed.write(&path).unwrap();
            assert!(std::fs::read(&path).unwrap().len() < OUTCOME_MAX, "{hostile:?}");
        }
    }
}
