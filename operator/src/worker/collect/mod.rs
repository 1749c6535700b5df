//! Reads what a test's container left in its folder of reports, and keeps it.
//!
//! It runs beside the test as a sidecar: the kubelet stops it when the test's container has ended, whatever its exit
//! code, and then it reads. So a test image needs no client, no wrapper and no agreement but the folder. What the exit
//! code means is for `gate::kind` to say, because only the operator sees it.

mod folder;
mod scans;

use std::{path::PathBuf, process::ExitCode};

use launchway_crds::{conditions::reasons, step::Metric};
use serde::{Deserialize, Serialize};

use super::{
    frame,
    measured::Measured,
    publish::{self, Destination, Document},
    verdict::{Reason, Verdict},
};
use crate::{
    gate::{
        TestKind,
        kind::Needs,
        {jacoco::Coverage, junit::Cases, sarif::Levels},
    },
    shutdown::Shutdown,
};
use folder::{Found, Reports, Room};

/// Where the request is.
pub const REQUEST: &str = "LAUNCHWAY_COLLECT";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// What kind of test wrote the reports.
    pub kind: TestKind,
    /// The folder.
    pub folder: PathBuf,
    /// Where the reports are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Destination>,
    /// Scanners, each with a folder of its name in the folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scanners: Vec<String>,
    /// Folder with what the package checks found: it is kept with the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<PathBuf>,
}

/// What was read: documents to keep, what cannot be kept, and the metrics with a sentence.
struct Read {
    documents: Vec<Document>,
    notes: Vec<String>,
    result: Result<(Vec<Metric>, String), Reason>,
}

/// Waits until the test's container has ended, and then reads.
pub async fn run() -> ExitCode {
    let Ok(shutdown) = Shutdown::on_signals() else {
        let why = "signal handlers cannot be installed";
        return Verdict::<Measured>::Error(Reason::new(reasons::JOB_FAILED, why)).conclude();
    };
    // A request that cannot be read is told when it is asked for: a sidecar that ends is only started again.
    shutdown.wait().await;
    from_text(&frame::text(REQUEST)).await.conclude()
}

async fn from_text(text: &str) -> Verdict<Measured> {
    let request: Request = match frame::request(REQUEST, "kind and folder", text) {
        Ok(request) => request,
        Err(reason) => return Verdict::Error(reason),
    };
    let destination = request.report.clone();
    let Read { documents, mut notes, result } = match read(request).await {
        Ok(read) => read,
        Err(reason) => return Verdict::Error(reason),
    };
    let (digest, lost) = publish::publish(destination.as_ref(), documents).await;
    notes.extend(lost);
    let with_notes = |message: String| {
        [message]
            .into_iter()
            .chain(notes.iter().cloned())
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    };
    let result = result.and_then(|(metrics, message)| Measured::new(metrics, &with_notes(message), digest));
    match result {
        Ok(measured) => {
            println!("{}", measured.message);
            Verdict::Ok(measured)
        }
        Err(reason) => {
            let reason = Reason { report: digest, ..Reason::new(&reason.reason, &with_notes(reason.message)) };
            if reason.reason == reasons::TEST_FAILED { Verdict::Failed(reason) } else { Verdict::Error(reason) }
        }
    }
}

/// Reads what was left, on a thread of its own: reports are parsed.
async fn read(request: Request) -> Result<Read, Reason> {
    let task = tokio::task::spawn_blocking(move || {
        if request.scanners.is_empty() {
            let Reports { found, documents, notes } = folder::read(&request.folder, None, &mut Room::default())?;
            Ok(Read { documents, notes, result: judge(request.kind, found) })
        } else {
            scans::read(&request)
        }
    });
    let broken = |why: String| Reason::new(reasons::JOB_FAILED, &why);
    task.await.map_err(|error| broken(format!("reading the reports failed: {error}")))?.map_err(broken)
}

/// The metrics of what was found, and a sentence.
///
/// # Errors
/// When a report cannot be read, or there is none where there must be one.
fn judge(kind: TestKind, found: Vec<(String, Result<Found, String>)>) -> Result<(Vec<Metric>, String), Reason> {
    let (mut cases, mut levels, mut coverage) = (None::<Cases>, None::<Levels>, None::<Coverage>);
    let (mut metrics, mut problems) = (vec![], vec![]);
    for (name, one) in found {
        match one {
            Ok(Found::JUnit(more)) => cases.get_or_insert_default().add(more),
            Ok(Found::Sarif(more)) => levels = Some(levels.unwrap_or_default().and(more)),
            Ok(Found::Jacoco(more)) => coverage = Some(coverage.unwrap_or_default().and(more)),
            Ok(Found::Metrics(more)) => metrics.extend(more),
            Err(why) => problems.push(format!("{name}: {why}")),
        }
    }
    let missing = match kind.needs() {
        Needs::Nothing => false,
        Needs::JUnit => cases.is_none(),
        Needs::Metrics => cases.is_none() && levels.is_none() && coverage.is_none() && metrics.is_empty(),
    };
    let remedy = "see docs/tests.md for what a test has to write";
    if !problems.is_empty() {
        return Err(Reason::new(
            reasons::JOB_FAILED,
            &format!("a report cannot be read, so nothing is known: {}; {remedy}", problems.join("; ")),
        ));
    }
    if missing {
        let what = if kind.needs() == Needs::JUnit { "JUnit XML (*.xml)" } else { "metrics.json, SARIF or XML" };
        return Err(Reason::new(reasons::JOB_FAILED, &format!("the test left no {what} in REPORTS_PATH; {remedy}")));
    }
    let message = cases.as_ref().map(Cases::sentence).unwrap_or_default();
    metrics.extend(cases.iter().flat_map(Cases::metrics));
    metrics.extend(levels.into_iter().flat_map(Levels::metrics));
    metrics.extend(coverage.iter().flat_map(Coverage::metrics));
    Ok((metrics, message))
}

#[cfg(test)]
mod tests;
