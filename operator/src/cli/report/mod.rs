//! `launchway report`: what a step measured and found, as a table, as JSON, or as CSV.
//!
//! Metrics are in the execution; what was found is in the report that the step's Job left in the registry.

mod print;
pub mod read;

use std::path::Path;

use clap::{Args, ValueEnum};
use launchway_crds::{
    PipelineExecution,
    digest::ImageRef,
    execution::Step,
    step::{Metric, StepName},
};
use serde::Serialize;

use super::{
    CliError, End,
    logs::step,
    registry::RegistryArgs,
    say,
    screen::Size,
    session::{Connection, Session},
};
use read::Line;

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Name of the execution
    pub name: String,
    /// Step, such as codeQuality or security-test; default: the last one that measured something or left a report
    #[arg(value_parser = step)]
    pub step: Option<StepName>,
    /// Form
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub output: Form,
    /// Save the files of the report in this folder too
    #[arg(long, value_name = "FOLDER")]
    pub save: Option<std::path::PathBuf>,
    /// Registry access.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// A form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Metrics, findings and files, for people.
    Table,
    /// Everything, for tools.
    Json,
    /// The findings, for spreadsheets.
    Csv,
}

/// What is known of a step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    execution: String,
    step: StepName,
    /// Where the report is; none when the step left none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<ImageRef>,
    metrics: Vec<Metric>,
    findings: Vec<Line>,
    files: Vec<read::File>,
    /// Files that cannot be read, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
}

/// Reads and shows.
///
/// # Errors
/// When there is no such execution or step, it measured nothing, or the registry refuses.
pub async fn run(args: ReportArgs) -> Result<End, CliError> {
    let session = Session::open(args.connection).await?;
    let execution = session.execution(&args.name).await?;
    let hint = session.plugin(&["status", &args.name]);
    let found = chosen(&execution, args.step, &hint)?;
    let mut report = Report {
        execution: args.name,
        step: found.name,
        reference: found.report.clone(),
        metrics: found.metrics.to_vec(),
        findings: vec![],
        files: vec![],
        unread: vec![],
    };
    if let Some(reference) = &found.report {
        let client = args.registry.client().map_err(|error| CliError::said(error.to_string()))?;
        let contents = read::fetch(&client, reference, args.save.is_some()).await?;
        if let Some(folder) = &args.save {
            save(folder, &contents)?;
        }
        (report.findings, report.unread) = read::findings(&contents);
        report.files = contents.into_iter().map(|content| content.file).collect();
    } else if args.save.is_some() {
        return Err(CliError::said(format!(
            "{} of {} has left no report to save",
            found.name.as_str(),
            report.execution
        )));
    }
    match args.output {
        Form::Table => print::table(&report, Size::row()).into_iter().try_for_each(say)?,
        Form::Json => super::print_json(&report)?,
        Form::Csv => say(print::csv(&report.findings).trim_end())?,
    }
    Ok(End::Done)
}

/// The step that is meant.
fn chosen<'a>(execution: &'a PipelineExecution, wanted: Option<StepName>, hint: &str) -> Result<&'a Step, CliError> {
    let steps = execution.status.as_ref().map_or(&[] as &[Step], |status| &status.steps);
    let told = |step: &&Step| !step.metrics.is_empty() || step.report.is_some();
    let with = || steps.iter().filter(told).map(|step| step.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = match wanted {
        None => steps.iter().rfind(told).ok_or("no step has measured anything or left a report yet".to_owned()),
        Some(name) => match steps.iter().find(|step| step.name == name) {
            None => Err(format!("this execution has no step {}", name.as_str())),
            Some(step) if !told(&step) => {
                let others = with();
                let others = if others.is_empty() { "no step has".into() } else { format!("these have: {others}") };
                Err(format!("{} has measured nothing and left no report; {others}", name.as_str()))
            }
            Some(step) => Ok(step),
        },
    };
    found.map_err(|why| CliError::said(format!("{why}: `{hint}` shows where it is")))
}

/// Writes the files of a report. Their names come from whoever ran the test: they stay below the folder.
fn save(folder: &Path, contents: &[read::Content]) -> Result<(), CliError> {
    for content in contents {
        let (Some(bytes), true) = (&content.bytes, content.file.is_plain()) else { continue };
        let path = folder.join(&content.file.title);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn the_step_is_the_last_with_something_to_tell_or_the_one_that_is_named() {
        let mut execution = samples::waiting();
        let error =
            |execution: &PipelineExecution, wanted| chosen(execution, wanted, "status").unwrap_err().to_string();
        assert!(error(&execution, None).starts_with("no step has measured anything"));
        assert!(error(&execution, Some(StepName::UiTest)).contains("no step uiTest"));
        assert!(error(&execution, Some(StepName::SmokeTest)).contains("no step has: `status`"));
        let steps = &mut execution.status.as_mut().unwrap().steps;
        steps[2].report = Some("reg.example/images@sha256:".to_owned() + &"1".repeat(64)).map(|it| it.parse().unwrap());
        assert_eq!(chosen(&execution, None, "status").unwrap().name, StepName::BuildImage);
        assert!(error(&execution, Some(StepName::SmokeTest)).contains("these have: buildImage"));
    }

    #[test]
    fn files_of_hostile_names_are_not_saved() {
        let folder = tempfile::tempdir().unwrap();
        let content = |title: &str| read::Content {
            file: read::File { title: title.into(), media_type: "text/plain".into(), size: 1 },
            bytes: Some(b"x".to_vec()),
        };
        let inside = folder.path().join("in");
        save(&inside, &[content("pmd/a.txt"), content("../b.txt"), content("/c.txt"), content("a/../../d.txt")])
            .unwrap();
        assert!(inside.join("pmd/a.txt").is_file());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is beside the folder");
    }
}
