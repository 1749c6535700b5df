//! The code quality Job: an artifact in, the metrics of its package checks out, and the packages for scanners.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use launchway_crds::{
    conditions::reasons,
    digest::{ImageRef, Sha256Digest},
    step::Severity,
};
use serde::{Deserialize, Serialize};

use super::{
    build::{Lines, SPOOL, client, credentials, from_env},
    frame,
    measured::Measured,
    publish::{self, Content, Destination, Document},
    verdict::{Reason, Verdict},
};
use crate::{
    build::{self, BuildError, Report, Source},
    image::plan::{Input, Planned},
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
    /// What is left for whom, besides the result.
    #[serde(default)]
    pub outlets: Outlets,
}

/// What the checks leave behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outlets {
    /// Where the report is kept, when nobody scans after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Destination>,
    /// Folder in which scanners find the packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<PathBuf>,
    /// Folder for what was found, which is kept together with the reports of scanners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<PathBuf>,
}

/// Name of the document with everything that the checks found, in a report.
pub const FINDINGS: &str = "findings.json";

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
        let gathered = build::gather(&client, &Source::Artifact(request.artifact.clone()), spool, &Lines).await?;
        if let Some(folder) = &request.outlets.packages {
            let (inputs, folder) = (gathered.inputs.clone(), folder.clone());
            let left = tokio::task::spawn_blocking(move || leave_packages(&inputs, &folder));
            left.await.map_err(io::Error::other)??;
        }
        build::check(gathered, &request.provided, spool, &Lines).await
    };
    let planned = match checked.await {
        Ok(planned) => planned,
        Err(BuildError::Refused(refusal)) => {
            return Verdict::Failed(Reason::new(refusal.reason.as_str(), &refusal.message()));
        }
        Err(BuildError::Registry(error)) => return Verdict::Error(Reason::new(error.code(), &error.message)),
        Err(BuildError::Platform(message)) => return Verdict::Error(Reason::new(reasons::JOB_FAILED, &message)),
    };
    let (report, lost) = match leave_findings(request, &planned).await {
        Ok(kept) => kept,
        Err(error) => return Verdict::Error(Reason::new(reasons::JOB_FAILED, &format!("{FINDINGS}: {error}"))),
    };
    if let (Err(refusal), true) = (&planned.plan, request.refuse) {
        return Verdict::Failed(Reason { report, ..Reason::new(refusal.reason.as_str(), &refusal.message()) });
    }
    let said: Vec<String> = [sentence(&planned)].into_iter().chain(lost).collect();
    match Measured::new(planned.metrics.clone(), &said.join("; "), report) {
        Ok(measured) => Verdict::Ok(measured),
        Err(reason) => Verdict::Failed(Reason { report, ..reason }),
    }
}

/// The zips as they are in the artifact. Their names are checked when an artifact is read: none leaves the folder.
fn leave_packages(inputs: &[Input], folder: &Path) -> io::Result<()> {
    for input in inputs {
        let mut file = fs::File::create(folder.join(&input.name))?;
        io::copy(&mut input.blob.reader(), &mut file)?;
    }
    Ok(())
}

/// Keeps what was found: in the registry, or beside the reports of scanners. Where the report is, and why it is not kept.
async fn leave_findings(request: &Request, planned: &Planned) -> io::Result<(Option<Sha256Digest>, Option<String>)> {
    let findings = Report::new(request.artifact.digest(), planned).to_json();
    if let Some(folder) = &request.outlets.findings {
        fs::write(folder.join(FINDINGS), findings)?;
        return Ok((None, None));
    }
    let document = Document {
        title: FINDINGS.into(),
        media_type: publish::media_type(FINDINGS),
        content: Content::Bytes(findings),
    };
    Ok(publish::publish(request.outlets.report.as_ref(), vec![document]).await)
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
