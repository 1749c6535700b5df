//! The code quality Job: an artifact in, the metrics of its package checks out.

use std::{path::Path, process::ExitCode};

use launchway_crds::{conditions::reasons, digest::ImageRef, step::Severity};
use serde::{Deserialize, Serialize};

use super::{
    build::{Lines, SPOOL, client, credentials, from_env},
    frame,
    measured::Measured,
    verdict::{Reason, Verdict},
};
use crate::{
    build::{self, BuildError, Source},
    image::plan::Planned,
};

/// Environment variable with the request.
pub const REQUEST: &str = "LAUNCHWAY_CODE_QUALITY";
/// How many findings the result tells; all are in the Job's log.
const TOLD: usize = 3;

/// What to check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The artifact: `REGISTRY/REPOSITORY@sha256:…`.
    pub artifact: ImageRef,
    /// Prefixes of `group:name` that the runtime brings along, besides the default ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provided: Vec<String>,
    /// Registries (`HOST[:PORT]`) that are spoken to in plain HTTP.
    #[serde(default)]
    pub plain_http: Vec<String>,
    /// Whether packages of which no image can be made fail the check: where a build follows, that is for it to say.
    #[serde(default)]
    pub refuse: bool,
}

/// Does what the environment asks for.
pub async fn run() -> ExitCode {
    frame::run(async {
        let request = match frame::request(REQUEST, "artifact", &frame::text(REQUEST)) {
            Ok(request) => request,
            Err(reason) => return Verdict::Error(reason),
        };
        check(&request, &from_env(SPOOL, "/spool")).await
    })
    .await
}

async fn check(request: &Request, spool: &Path) -> Verdict<Measured> {
    let checked = async {
        std::fs::create_dir_all(spool)?;
        let client = client(&request.plain_http, &credentials())?;
        build::check(&client, &Source::Artifact(request.artifact.clone()), &request.provided, spool, &Lines).await
    };
    let planned = match checked.await {
        Ok(planned) => planned,
        Err(BuildError::Refused(refusal)) => {
            return Verdict::Failed(Reason::new(refusal.reason.as_str(), &refusal.message()));
        }
        Err(BuildError::Registry(error)) => return Verdict::Error(Reason::new(error.code(), &error.message)),
        Err(BuildError::Platform(message)) => return Verdict::Error(Reason::new(reasons::JOB_FAILED, &message)),
    };
    if let (Err(refusal), true) = (&planned.plan, request.refuse) {
        return Verdict::Failed(Reason::new(refusal.reason.as_str(), &refusal.message()));
    }
    match Measured::new(planned.metrics.clone(), &sentence(&planned), None) {
        Ok(measured) => Verdict::Ok(measured),
        Err(reason) => Verdict::Failed(reason),
    }
}

/// How many findings there are, and the gravest.
fn sentence(planned: &Planned) -> String {
    let worth: Vec<_> = planned.findings.iter().filter(|found| found.severity != Severity::Informational).collect();
    let files = planned.files.len();
    if worth.is_empty() {
        return format!("{files} files keep the rules; {} notes", planned.findings.len());
    }
    let told: Vec<String> = worth.iter().take(TOLD).map(|found| found.line()).collect();
    format!("{} findings in {files} files: {}", worth.len(), told.join("; "))
}
