//! `inspect`: what zips would be taken for, checked on this machine with the very code of the build.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::artifact::{PushError, find_zips};
use crate::image::Blob;
use crate::image::blob::Spool;
use crate::image::classify::Flavour;
use crate::image::dispatcher::BaseFiles;
use crate::image::plan::{FileKind, Input, PlanOptions, Planned, plan};
use crate::text::human;

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
/// When there is nothing to inspect, or a file cannot be read.
pub fn run(args: &InspectArgs, out: &mut dyn Write) -> Result<bool, PushError> {
    let mut inputs = Vec::new();
    for path in find_zips(&args.paths)? {
        let bad = |error: std::io::Error| PushError::Input(format!("{} cannot be read: {error}", path.display()));
        let blob = Blob::from_file(std::fs::File::open(&path).map_err(bad)?).map_err(bad)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        inputs.push(Input { name, sha256: blob.digest().map_err(bad)?, blob });
    }
    let mut options = PlanOptions::default();
    options.provided.extend(args.provided.iter().cloned());
    let base = BaseFiles { config_path: "/etc/httpd".to_owned(), ..BaseFiles::default() };
    let bad =
        |error: std::io::Error| PushError::Input(format!("the folder for temporary files cannot be used: {error}"));
    let planned = plan(inputs, &base, &options, &Spool::new(&std::env::temp_dir())).map_err(bad)?;
    let written = if args.output == "json" { json_output(&planned, out) } else { table(&planned, out) };
    written.map_err(|error| PushError::Input(format!("the output cannot be written: {error}")))?;
    Ok(planned.plan.is_ok())
}

fn order(planned: &Planned) -> Vec<String> {
    planned
        .plan
        .as_ref()
        .map(|plan| plan.packages.iter().map(|package| package.id.to_string()).collect())
        .unwrap_or_default()
}

fn json_output(planned: &Planned, out: &mut dyn Write) -> std::io::Result<()> {
    let failure =
        planned.plan.as_ref().err().map(|refusal| json!({"reason": refusal.reason, "message": refusal.message()}));
    let value =
        json!({"files": planned.files, "order": order(planned), "findings": planned.findings, "failure": failure});
    writeln!(out, "{value:#}")
}

fn table(planned: &Planned, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{:<44} {:<26} {:>10}  DETAIL", "FILE", "KIND", "SIZE")?;
    for file in &planned.files {
        let kind = match file.kind {
            FileKind::ContentPackage => "content-package",
            FileKind::Dispatcher => "dispatcher-configuration",
            FileKind::Ignored => "ignored",
            FileKind::Rejected => "rejected",
        };
        let detail =
            file.message.as_deref().or(file.id.as_deref()).or(file.flavour.map(Flavour::as_str)).unwrap_or_default();
        writeln!(out, "{:<44} {kind:<26} {:>10}  {detail}", file.name, human(file.size))?;
    }
    for (at, id) in order(planned).iter().enumerate() {
        writeln!(out, "{}{:>3}. {id}", if at == 0 { "install order\n" } else { "" }, at + 1)?;
    }
    for finding in &planned.findings {
        writeln!(out, "note: {}: {}", finding.file, finding.message)?;
    }
    if let Err(refusal) = &planned.plan {
        writeln!(out, "a build would fail: {refusal}")?;
    }
    Ok(())
}
