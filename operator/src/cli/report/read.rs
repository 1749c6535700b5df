//! Reads a report from a registry: which files it has, and what the ones that are known found.

use std::path::{Component, Path};

use launchway_crds::{digest::ImageRef, step::Severity};
use serde::Serialize;

use crate::{
    build::report,
    cli::CliError,
    gate::sarif,
    image::manifest::{Descriptor, Document, TITLE},
    registry::{Client, Repository},
    worker::{code_quality::FINDINGS, publish},
};

/// One file of a report.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Its path in the report.
    pub title: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
}

impl File {
    /// Whether its path stays in the folder that it is put into.
    pub fn is_plain(&self) -> bool {
        let mut parts = Path::new(&self.title).components().peekable();
        parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
    }
}

/// A file with its content, when it was read.
#[derive(Debug)]
pub struct Content {
    /// The file.
    pub file: File,
    /// Its content.
    pub bytes: Option<Vec<u8>>,
}

/// Something that a check or a scanner found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// How grave: our severities, or SARIF's levels.
    pub severity: String,
    /// `packages` for our own checks, else the scanner.
    pub source: String,
    /// Id of the rule.
    pub rule: String,
    /// Where.
    pub place: String,
    /// What.
    pub message: String,
    /// What to do, where that is known.
    pub remedy: String,
}

/// What a file is read as.
enum Known {
    Packages,
    Sarif,
}

impl Known {
    fn of(title: &str) -> Option<Self> {
        let name = title.rsplit('/').next().unwrap_or(title).to_ascii_lowercase();
        if [FINDINGS, "report.json"].contains(&title) {
            Some(Self::Packages)
        } else if name.ends_with(".sarif") || name.ends_with(".sarif.json") {
            Some(Self::Sarif)
        } else {
            None
        }
    }
}

/// The files of a report; those that are known are read, and all when `whole` says so.
///
/// # Errors
/// When the report is gone, or the registry refuses.
pub async fn fetch(client: &Client, reference: &ImageRef, whole: bool) -> Result<Vec<Content>, CliError> {
    let repository = Repository::of(reference);
    let said = |error: crate::registry::RegistryError| CliError::said(format!("report {reference}: {error}"));
    let manifest = client.need_manifest(&repository, &reference.digest().to_string()).await.map_err(said)?;
    let layers = match Document::parse(&manifest.bytes) {
        Ok(Document::Manifest(manifest)) => manifest.layers,
        Ok(Document::Index { .. }) => return Err(CliError::said(format!("report {reference}: it is an index"))),
        Err(why) => return Err(CliError::said(format!("report {reference}: {why}"))),
    };
    let mut all = vec![];
    for layer in layers {
        let file = file(&layer);
        let wanted = (whole || Known::of(&file.title).is_some()) && file.size <= publish::BYTES_MAX;
        let bytes = if wanted {
            let most = usize::try_from(file.size).unwrap_or(usize::MAX);
            Some(client.get_blob(&repository, &layer.digest, most).await.map_err(said)?)
        } else {
            None
        };
        all.push(Content { file, bytes });
    }
    Ok(all)
}

fn file(layer: &Descriptor) -> File {
    let title = layer.annotations.get(TITLE).cloned().unwrap_or_else(|| layer.digest.to_string());
    File { title, media_type: layer.media_type.clone(), size: layer.size }
}

/// What the known files found, and which of them cannot be read.
pub fn findings(contents: &[Content]) -> (Vec<Line>, Vec<String>) {
    let (mut lines, mut unread) = (vec![], vec![]);
    for content in contents {
        let (Some(bytes), Some(known)) = (&content.bytes, Known::of(&content.file.title)) else { continue };
        let read = match known {
            Known::Packages => of_packages(bytes),
            Known::Sarif => of_scanner(&content.file.title, bytes),
        };
        match read {
            Ok(found) => lines.extend(found),
            Err(why) => unread.push(format!("{}: {why}", content.file.title)),
        }
    }
    (lines, unread)
}

fn of_packages(bytes: &[u8]) -> Result<Vec<Line>, String> {
    let report: report::Report = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let refused = report.failure.map(|message| Line {
        severity: Severity::Critical.as_str().into(),
        source: "packages".into(),
        rule: "refused".into(),
        place: String::new(),
        message,
        remedy: String::new(),
    });
    let of = |finding: crate::image::plan::Finding| Line {
        severity: finding.severity.as_str().into(),
        source: "packages".into(),
        rule: finding.rule.as_str().into(),
        place: [Some(finding.file), finding.entry]
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("!"),
        message: finding.message,
        remedy: finding.remedy,
    };
    Ok(refused.into_iter().chain(report.findings.into_iter().map(of)).collect())
}

fn of_scanner(title: &str, bytes: &[u8]) -> Result<Vec<Line>, String> {
    let source = title.split_once('/').map_or(title, |(scanner, _)| scanner);
    let of = |problem: sarif::Problem| Line {
        severity: problem.level.into(),
        source: source.into(),
        rule: problem.rule,
        place: problem.place,
        message: problem.message,
        remedy: String::new(),
    };
    Ok(sarif::problems(bytes)?.into_iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(title: &str, text: &str) -> Content {
        let file = File { title: title.into(), media_type: "application/json".into(), size: text.len() as u64 };
        Content { file, bytes: Some(text.as_bytes().to_vec()) }
    }

    #[test]
    fn findings_of_packages_and_scanners_are_one_list() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let packages = format!(
            r#"{{"format":"launchway-report/1","artifact":"{digest}","files":[],"findings":[{{"severity":"important","file":"a.zip","rule":"BannedPath","entry":"jcr_root/libs","message":"writes to /libs","remedy":"use /apps"}}]}}"#
        );
        let sarif = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"results":[{"ruleId":"R1","level":"error","message":{"text":"bad"}}]}]}"#;
        let all = [
            content("findings.json", &packages),
            content("pmd/a.sarif", sarif),
            content("pmd/b.sarif", "{"),
            content("video.mp4", "x"),
        ];
        let (lines, unread) = findings(&all);
        let told: Vec<_> = lines.iter().map(|it| (it.source.as_str(), it.rule.as_str(), it.place.as_str())).collect();
        assert_eq!(told, [("packages", "BannedPath", "a.zip!jcr_root/libs"), ("pmd", "R1", "")]);
        assert!(unread.len() == 1 && unread[0].starts_with("pmd/b.sarif: it is no SARIF document"), "{unread:?}");
    }

    #[test]
    fn refused_packages_are_told_first() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let text = format!(r#"{{"format":"x","artifact":"{digest}","files":[],"failure":"NoArtifacts: no zip"}}"#);
        let (lines, _) = findings(&[content("report.json", &text)]);
        assert_eq!((lines[0].severity.as_str(), lines[0].message.as_str()), ("critical", "NoArtifacts: no zip"));
    }
}
