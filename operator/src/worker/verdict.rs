//! How a task ended: one small JSON object in the termination log.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use launchway_crds::{conditions::truncate, digest::Sha256Digest};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::text::printable;

/// The kubelet keeps no more of a termination log.
const OUTCOME_MAX: usize = 4096;
/// What status keeps of a message.
const MESSAGE_MAX: usize = 1024;
/// What status keeps of a reason.
const REASON_MAX: usize = 64;

/// How a task ended, as the operator reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict<T> {
    /// It is done.
    Ok(T),
    /// What the user gave is at fault.
    Failed(Reason),
    /// The platform is at fault.
    Error(Reason),
}

/// Why a task is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// One word; see `launchway_crds::conditions::reasons`.
    pub reason: String,
    /// What happened and what to do about it.
    pub message: String,
    /// A build's report, when it could be written: what each file was found to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Sha256Digest>,
}

impl Reason {
    /// With its message cut to what status can hold. What JSON would write as `\u0000` is left out, so that an
    /// outcome always fits.
    #[must_use]
    pub fn new(reason: &str, message: &str) -> Self {
        Self {
            reason: truncate(&printable(reason), REASON_MAX),
            message: truncate(&printable(message), MESSAGE_MAX),
            report: None,
        }
    }
}

impl<T: Serialize> Verdict<T> {
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

    fn write(&self, path: &Path) -> io::Result<()> {
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

impl<T: DeserializeOwned> Verdict<T> {
    /// Reads a termination message. It is as trustworthy as the container that wrote it: its texts are bounded
    /// and cleaned again.
    ///
    /// # Errors
    /// When it is no verdict.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > OUTCOME_MAX {
            return Err(format!("it has {} bytes, at most {OUTCOME_MAX} are allowed", text.len()));
        }
        let clean = |reason: Reason| Reason { report: reason.report, ..Reason::new(&reason.reason, &reason.message) };
        Ok(match serde_json::from_str(text.trim()).map_err(|error| error.to_string())? {
            Self::Ok(result) => Self::Ok(result),
            Self::Failed(reason) => Self::Failed(clean(reason)),
            Self::Error(reason) => Self::Error(clean(reason)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_the_agreed_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let ok: Verdict<serde_json::Value> = Verdict::Ok(serde_json::json!({"checks": 2}));
        ok.write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"{"ok":{"checks":2}}"#);
        for hostile in ["\u{1}", "ü", "\"", "\n"] {
            let failed: Verdict<()> = Verdict::Failed(Reason::new("TestFailed", &hostile.repeat(5000)));
            failed.write(&path).unwrap();
            assert!(std::fs::read(&path).unwrap().len() < OUTCOME_MAX, "{hostile:?}");
        }
    }

    #[test]
    fn what_a_hostile_container_writes_is_bounded() {
        for bad in ["", "{}", "null", r#"{"ok":{"checks":"many"}}"#, &"x".repeat(5000)] {
            assert!(Verdict::<super::super::smoke::Passed>::parse(bad).is_err(), "{bad}");
        }
        let text = format!(r#"{{"failed":{{"reason":"{}","message":"\u001b[2J"}}}}"#, "R".repeat(500));
        let Verdict::Failed(reason) = Verdict::<()>::parse(&text).unwrap() else { panic!("another verdict") };
        assert!(reason.reason.len() <= REASON_MAX && reason.message == " [2J");
    }
}
