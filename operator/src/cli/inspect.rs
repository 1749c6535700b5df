//! `inspect`: what zips would be taken for, checked on this machine with the very code of the build.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use crate::artifact::PushError;
use crate::image::blob::Spool;
use crate::image::checks::Profile;
use crate::image::dispatcher::BaseFiles;
use crate::image::plan::{FileReport, Finding, PlanOptions, Planned, plan};
use crate::inputs;
use crate::text::{human, printable};

/// Whose rules decide how grave a finding is
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Rules {
    /// AEM as a Cloud Service
    Cloud,
    /// Adobe Managed Services
    Managed,
}

/// Check packages without pushing them
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// Zips, folders with zips, or project folders (with pom.xml: every target/*.zip below)
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Output format
    #[arg(short, long, value_parser = ["table", "json"], default_value = "table")]
    pub output: String,
    /// Package that the runtime brings along: prefix of group:name; may be given several times
    #[arg(long, value_name = "PREFIX")]
    pub provided: Vec<String>,
    /// Whose rules decide how grave a finding is
    #[arg(long, value_enum, default_value = "cloud")]
    pub rules: Rules,
    /// Refuse a dispatcher configuration that changes files of the base image
    #[arg(long)]
    pub refuse_changed_base_files: bool,
}

/// Runs the command as a process: 0 when a build would accept everything, 2 when it would refuse
/// something, 1 when a file cannot be read.
#[must_use]
pub fn main(args: &InspectArgs) -> ExitCode {
    match run(args, &mut std::io::stdout()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the command. `true` when a build would accept the files.
///
/// # Errors
/// When there is nothing to inspect, or a file cannot be read. The others are printed nevertheless.
pub fn run(args: &InspectArgs, out: &mut dyn Write) -> Result<bool, PushError> {
    let inputs = inputs::local(&args.paths)?;
    let mut options = PlanOptions::with_provided(&args.provided);
    options.profile = match args.rules {
        Rules::Cloud => Profile::CloudService,
        Rules::Managed => Profile::ManagedServices,
    };
    options.refuse_changed = args.refuse_changed_base_files;
    let bad =
        |error: std::io::Error| PushError::Input(format!("the folder for temporary files cannot be used: {error}"));
    let spool = Spool::new(&std::env::temp_dir());
    let planned = plan(inputs.files, &BaseFiles::unknown(), &options, &spool).map_err(bad)?;
    let written = if args.output == "json" { json_output(&planned, out) } else { table(&planned, out) };
    written.map_err(|error| PushError::Input(format!("the output cannot be written: {error}")))?;
    if !inputs.unreadable.is_empty() {
        return Err(PushError::Input(inputs.unreadable.join("; ")));
    }
    Ok(planned.plan.is_ok())
}

/// A package id in its parts.
#[derive(Debug, Serialize)]
struct Id<'a> {
    group: &'a str,
    name: &'a str,
    version: &'a str,
}

impl<'a> Id<'a> {
    /// Neither group nor name can have a colon.
    fn of(id: &'a str) -> Self {
        let mut parts = id.splitn(3, ':');
        let mut next = || parts.next().unwrap_or_default();
        Self { group: next(), name: next(), version: next() }
    }
}

/// What is known of one file, as documented in `docs/packages.md`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FileView<'a> {
    file: &'a str,
    sha256: String,
    size: u64,
    kind: &'static str,
    reason: Option<&'static str>,
    message: Option<&'a str>,
    id: Option<Id<'a>>,
    package_type: Option<&'a str>,
    dependencies: &'a [String],
    tiers: Vec<&'static str>,
    embedded: &'a [String],
    flavour: Option<&'static str>,
    findings: Vec<&'a Finding>,
}

impl<'a> FileView<'a> {
    fn of(file: &'a FileReport, findings: &'a [Finding]) -> Self {
        let inside = |found: &&Finding| {
            found.file.strip_prefix(&file.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('!'))
        };
        Self {
            file: &file.name,
            sha256: file.sha256.hex().to_string(),
            size: file.size,
            kind: file.kind.as_str(),
            reason: file.reason.map(crate::image::Reason::as_str),
            message: file.message.as_deref(),
            id: file.id.as_deref().map(Id::of),
            package_type: file.package_type.as_deref(),
            dependencies: &file.dependencies,
            tiers: file.tiers.iter().map(|tier| tier.as_str()).collect(),
            embedded: &file.embedded,
            flavour: file.flavour.map(crate::image::classify::Flavour::as_str),
            findings: findings.iter().filter(inside).collect(),
        }
    }
}

fn order(planned: &Planned) -> Vec<String> {
    planned
        .plan
        .as_ref()
        .map(|plan| plan.packages.iter().map(|package| package.id.to_string()).collect())
        .unwrap_or_default()
}

fn json_output(planned: &Planned, out: &mut dyn Write) -> std::io::Result<()> {
    let files: Vec<FileView<'_>> = planned.files.iter().map(|file| FileView::of(file, &planned.findings)).collect();
    let whole: Vec<&Finding> = planned.findings.iter().filter(|finding| finding.file.is_empty()).collect();
    let failure = planned.plan.as_ref().err().map(|refusal| {
        json!({"reason": refusal.reason, "file": refusal.file, "entry": refusal.entry, "message": refusal.message()})
    });
    let value = json!({
        "files": files, "order": order(planned), "findings": whole, "metrics": planned.metrics, "failure": failure,
    });
    writeln!(out, "{value:#}")
}

fn table(planned: &Planned, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{:<44} {:<16} {:>10}  DETAIL", "FILE", "KIND", "SIZE")?;
    for file in &planned.files {
        let (name, detail) = (printable(&file.name), file.detail());
        writeln!(out, "{name:<44} {:<16} {:>10}  {detail}", file.kind.as_str(), human(file.size))?;
        for id in &file.embedded {
            writeln!(out, "{:<44} {:<16} {:>10}  {id}", "", "embedded", "")?;
        }
    }
    for (at, id) in order(planned).iter().enumerate() {
        writeln!(out, "{}{:>3}. {id}", if at == 0 { "install order\n" } else { "" }, at + 1)?;
    }
    for finding in &planned.findings {
        writeln!(out, "{}", finding.line())?;
    }
    for metric in planned.metrics.iter().filter(|metric| !metric.passed) {
        writeln!(out, "gate: {}", super::gate::line(metric))?;
    }
    if let Err(refusal) = &planned.plan {
        writeln!(out, "a build would fail: {refusal}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::testzip::{file, link, package, zip};
    use serde_json::Value;

    fn args(folder: &std::path::Path, output: &str) -> InspectArgs {
        InspectArgs {
            paths: vec![folder.to_owned()],
            output: output.to_owned(),
            provided: Vec::new(),
            rules: Rules::Cloud,
            refuse_changed_base_files: false,
        }
    }

    fn run_json(files: &[(&str, Vec<u8>)]) -> (bool, Value) {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let mut out = Vec::new();
        let usable = run(&args(folder.path(), "json"), &mut out).unwrap();
        (usable, serde_json::from_slice(&out).unwrap())
    }

    fn dispatcher() -> Vec<u8> {
        zip(&[
            file("conf.d/available_vhosts/a.vhost", "ProxyPass / http://x/"),
            link("conf.d/enabled_vhosts/a.vhost", "../available_vhosts/a.vhost"),
            file("conf.dispatcher.d/enabled_farms/a.farm", "/f { }"),
            file("opt-in/USE_SOURCES_DIRECTLY", ""),
        ])
    }

    #[test]
    fn json_has_every_field_of_the_contract() {
        let needs = package("site:b:1.0", &[("dependencies", "site:a:[1,2)"), ("packageType", "application")]);
        let (usable, value) =
            run_json(&[("a.zip", package("site:a:1.0", &[])), ("b.zip", needs), ("d.zip", dispatcher())]);
        assert!(usable, "{value:#}");
        let b = &value["files"][1];
        assert_eq!(b["file"], "b.zip");
        assert_eq!(b["kind"], "content-package");
        assert_eq!(b["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(b["id"], json!({"group": "site", "name": "b", "version": "1.0"}));
        assert_eq!((&b["packageType"], &b["dependencies"]), (&json!("application"), &json!(["site:a:[1,2)"])));
        assert_eq!((&b["tiers"], &b["embedded"]), (&json!(["author", "publish"]), &json!([])));
        let d = &value["files"][2];
        assert_eq!((&d["kind"], &d["flavour"]), (&json!("dispatcher"), &json!("flexible")));
        let rules: Vec<&str> = d["findings"].as_array().unwrap().iter().map(|f| f["rule"].as_str().unwrap()).collect();
        assert!(rules.contains(&"VhostDirective") && rules.contains(&"FarmSectionNotIncluded"), "{rules:?}");
        assert_eq!(value["order"], json!(["site:a:1.0", "site:b:1.0"]));
        assert_eq!(value["failure"], Value::Null);
        assert_eq!(
            (&value["metrics"][0]["name"], &value["metrics"][0]["passed"]),
            (&json!("security_rating"), &json!(true))
        );
    }

    #[test]
    fn a_refusal_says_why_there_is_no_order() {
        let (usable, value) = run_json(&[("a.zip", package("site:a:1.0", &[])), ("b.zip", b"no zip".to_vec())]);
        assert!(!usable);
        assert_eq!((&value["files"][1]["kind"], &value["files"][1]["reason"]), (&json!("rejected"), &json!("NotAZip")));
        assert_eq!((&value["order"], &value["failure"]["reason"]), (&json!([]), &json!("NotAZip")));
        assert_eq!(value["files"][0]["kind"], "content-package");
    }

    #[test]
    fn changed_base_files_are_refused_on_demand() {
        let folder = tempfile::tempdir().unwrap();
        let mut items = vec![file("conf.d/dispatcher_vhost.conf", "mine")];
        items.extend([
            file("conf.d/enabled_vhosts/a.vhost", ""),
            file("conf.dispatcher.d/enabled_farms/a.farm", ""),
            file("opt-in/USE_SOURCES_DIRECTLY", ""),
        ]);
        std::fs::write(folder.path().join("d.zip"), zip(&items)).unwrap();
        let mut args = args(folder.path(), "table");
        let mut out = Vec::new();
        assert!(run(&args, &mut out).unwrap());
        assert!(
            String::from_utf8(out)
                .unwrap()
                .contains("informational ImmutableFileChanged: d.zip, conf.d/dispatcher_vhost.conf")
        );
        args.refuse_changed_base_files = true;
        let mut out = Vec::new();
        assert!(!run(&args, &mut out).unwrap());
        assert!(String::from_utf8(out).unwrap().contains("a build would fail: ImmutableChanged"));
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert!(run(&args(std::path::Path::new("/nowhere/at/all"), "table"), &mut Vec::new()).is_err());
    }
}
