//! The report of a build: what every file was taken for, and in which order packages are installed.

use launchway_crds::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::image::plan::{FileReport, Finding, Metric, Planned};
use crate::text::human;

/// Largest report.
pub const MAX_REPORT: usize = 1 << 20;

/// Media type of the report's content.
pub const MEDIA_TYPE: &str = "application/vnd.launchway.report.v1+json";

/// Everything about one build that people and the operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `launchway-report/1`.
    pub format: String,
    /// Digest of the artifact that was built.
    pub artifact: Sha256Digest,
    /// Files, sorted by name.
    pub files: Vec<FileReport>,
    /// Package ids in install order, embedded ones included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
    /// Findings, gravest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What the code quality gate makes of all findings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// The release, when the build succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Sha256Digest>,
    /// Why there is no release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Report {
    /// The report of a plan.
    #[must_use]
    pub fn new(artifact: Sha256Digest, planned: &Planned) -> Self {
        let (order, failure) = match &planned.plan {
            Ok(plan) => (plan.packages.iter().map(|package| package.id.to_string()).collect(), None),
            Err(refusal) => (Vec::new(), Some(refusal.to_string())),
        };
        Self {
            format: "launchway-report/1".to_owned(),
            artifact,
            files: planned.files.clone(),
            order,
            findings: planned.findings.clone(),
            metrics: planned.metrics.clone(),
            release: None,
            failure,
        }
    }

    /// As JSON of at most [`MAX_REPORT`] bytes; details go first when it would be larger.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut report = self.clone();
        for _ in 0..3 {
            let bytes = serde_json::to_vec(&report).unwrap_or_default();
            if bytes.len() <= MAX_REPORT {
                return bytes;
            }
            if !report.findings.is_empty() {
                report.findings.clear();
            } else {
                for file in &mut report.files {
                    file.embedded.clear();
                    file.dependencies.clear();
                }
                report.order.truncate(1000);
            }
        }
        serde_json::to_vec(&report).unwrap_or_default()
    }
}

/// What a plan is, line by line, for logs.
pub(super) fn lines(planned: &Planned) -> Vec<String> {
    let mut out = Vec::new();
    for file in &planned.files {
        out.push(format!("{} ({}) {} {}", file.name, file.kind.as_str(), human(file.size), file.detail()));
    }
    out.extend(planned.findings.iter().map(|finding| format!("finding: {}", finding.line())));
    if let Ok(plan) = &planned.plan {
        let order: Vec<String> = plan.packages.iter().map(|package| package.id.to_string()).collect();
        out.push(format!(
            "install order: {}",
            if order.is_empty() { "no packages".to_owned() } else { order.join(", ") }
        ));
    }
    out
}
