//! What every task has in common: where its request is, and that it hears when it is to stop.

use std::process::ExitCode;

use launchway_crds::conditions::reasons;
use serde::{Serialize, de::DeserializeOwned};

use super::verdict::{Reason, Verdict};
use crate::shutdown::Shutdown;

/// The text of a request, from the environment.
pub(super) fn text(variable: &str) -> String {
    std::env::var(variable).unwrap_or_default()
}

/// Reads a request; `fields` says what it consists of.
///
/// # Errors
/// A reason that names the variable: the operator wrote it, so it is the platform's fault.
pub(super) fn request<R: DeserializeOwned>(variable: &str, fields: &str, text: &str) -> Result<R, Reason> {
    serde_json::from_str(text).map_err(|error| invalid(variable, &format!("expected JSON with {fields}: {error}")))
}

/// A request that cannot be done.
pub(super) fn invalid(variable: &str, why: &str) -> Reason {
    Reason::new(reasons::INVALID, &format!("{variable}: {why}"))
}

/// Does the task to its end, or until it is asked to stop, and leaves the outcome.
pub(super) async fn run<T: Serialize>(task: impl Future<Output = Verdict<T>>) -> ExitCode {
    let Ok(shutdown) = Shutdown::on_signals() else {
        return stopped::<T>("signal handlers cannot be installed");
    };
    tokio::select! {
        outcome = task => outcome.conclude(),
        // As the first process of a container it would otherwise not even hear SIGTERM.
        () = shutdown.wait() => stopped::<T>("the test was stopped before it ended: its pod was deleted or its node drained"),
    }
}

fn stopped<T: Serialize>(why: &str) -> ExitCode {
    Verdict::<T>::Error(Reason::new(reasons::JOB_FAILED, why)).conclude()
}
