//! `launchway status`: the newest executions, or one of them.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::{ResourceExt, api::ListParams};
use launchway_crds::{PipelineExecution, common::Span};

use super::{
    CliError, End,
    follow::follow,
    say,
    screen::Size,
    session::{Connection, Session},
    tree,
};
use crate::{
    client::{CALL, within},
    text::{clip, one_line},
};

/// Arguments of `status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Name of the execution; without it the newest ones are listed
    pub name: Option<String>,
    /// Follow the execution until it ends
    #[arg(short, long, requires = "name")]
    pub watch: bool,
    /// Stop following after this time, such as 90s, 15m or 1h30m; the execution goes on
    #[arg(long, value_name = "SPAN", requires = "watch")]
    pub timeout: Option<Span>,
    /// Another form
    #[arg(short, long, value_name = "FORM", conflicts_with = "watch")]
    pub output: Option<Form>,
    /// How many executions are listed
    #[arg(long, value_name = "NUMBER", default_value_t = 20, conflicts_with = "name")]
    pub limit: usize,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// A form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// The objects themselves.
    Json,
}

/// Shows.
///
/// # Errors
/// When the apiserver refuses, or there is no such execution.
pub async fn run(args: StatusArgs) -> Result<End, CliError> {
    let session = Session::open(args.connection).await?;
    let Some(name) = &args.name else {
        return list(&session, args.limit, args.output).await;
    };
    if args.watch {
        return follow(&session, name, args.timeout).await;
    }
    let execution = session.execution(name).await?;
    if args.output == Some(Form::Json) {
        print_json(&execution)?;
        return Ok(End::Done);
    }
    let environments = session.environments(&execution).await;
    for line in tree::draw(&execution, &environments, Timestamp::now(), Size::now().columns) {
        say(line)?;
    }
    Ok(End::Done)
}

async fn list(session: &Session, limit: usize, form: Option<Form>) -> Result<End, CliError> {
    let mut executions = within(CALL, session.executions().list(&ListParams::default())).await?.items;
    executions.sort_by_key(|execution| {
        let created = execution.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (std::cmp::Reverse(created), execution.name_any())
    });
    executions.truncate(limit);
    if form == Some(Form::Json) {
        print_json(&executions)?;
    } else if executions.is_empty() {
        let start = session.plugin(&["run", "PIPELINE"]);
        eprintln!("no executions in namespace {}: start one with `{start}`", session.namespace);
    } else {
        for line in table(&executions, Timestamp::now(), Size::now().columns) {
            say(line)?;
        }
    }
    Ok(End::Done)
}

fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CliError::said(error.to_string()))?;
    say(text)?;
    Ok(())
}

/// A row each; the last column gets what is left of the width.
fn table(executions: &[PipelineExecution], now: Timestamp, width: usize) -> Vec<String> {
    let titles = ["NAME", "PIPELINE", "STATE", "STEP", "RELEASE", "AGE", "WAITS FOR"].map(String::from);
    let rows: Vec<[String; 7]> = std::iter::once(titles).chain(executions.iter().map(|e| row(e, now))).collect();
    let columns: Vec<usize> =
        (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()).collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(at, cell)| columns.get(at).map_or_else(|| cell.clone(), |room| format!("{cell:room$}")))
                .collect();
            clip(cells.join("  ").trim_end(), width)
        })
        .collect()
}

fn row(execution: &PipelineExecution, now: Timestamp) -> [String; 7] {
    let status = execution.status.clone().unwrap_or_default();
    let created = execution.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let age = Duration::try_from(now.duration_since(created)).unwrap_or_default();
    let short = |text: &str| clip(&one_line(text), 40);
    [
        execution.name_any(),
        short(&execution.spec.pipeline_ref.name),
        short(if status.state.is_empty() { "Pending" } else { &status.state }),
        status.step.map(|step| step.as_str().to_string()).unwrap_or_default(),
        status.release.map(|release| release.digest().short()).unwrap_or_default(),
        tree::span(age),
        status.waiting_for.map(|waiting| one_line(&waiting.why)).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tree::samples;

    #[test]
    fn the_table_lines_up_and_fits() {
        let now: Timestamp = samples::NOW.parse().unwrap();
        let all = [samples::waiting(), samples::failed(), samples::unseen("2026-11-21T10:35:00Z")];
        assert_eq!(
            table(&all, now, 100).join("\n"),
            "\
NAME     PIPELINE         STATE    STEP                RELEASE       AGE  WAITS FOR
wknd-42  wknd-production  Waiting  approvalProduction  abababababab  0s   approval of the productio…
wknd-42  wknd-production  Failed   deployProduction    abababababab  0s
wknd-42  wknd-production  Pending                                    12s"
        );
    }
}
