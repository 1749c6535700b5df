//! `launchway status`: the newest executions, or one of them.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::{ResourceExt, api::ListParams};
use launchway_crds::{PipelineExecution, common::Span, execution::Mode};

use super::{
    CliError, End, changes,
    follow::follow,
    heading::EMERGENCY,
    print_json, say,
    screen::{Screen, Size},
    session::{Connection, Session},
    table::table,
    times::{between, span},
    tree::{self, Room},
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
    let around = session.around(&execution).await;
    let lines = tree::draw(&execution, &around, Timestamp::now(), Room::Whole(Size::now().columns));
    match Screen::open() {
        Some(mut screen) => screen.finish(&lines)?,
        None => lines.iter().try_for_each(say)?,
    }
    Ok(End::Done)
}

async fn list(session: &Session, limit: usize, form: Option<Form>) -> Result<End, CliError> {
    let everything = ListParams::default();
    let (executions, pipelines) = (session.executions(), session.pipelines());
    // Pipelines that cannot be listed are missing below: executions are what was asked for.
    let (executions, pipelines) =
        tokio::join!(within(CALL, executions.list(&everything)), within(CALL, pipelines.list(&everything)));
    let mut executions = executions?.items;
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
        for line in table(&rows(&executions, Timestamp::now()), Size::row()) {
            say(line)?;
        }
    }
    let changes = changes::rows(&pipelines.map(|list| list.items).unwrap_or_default(), Timestamp::now());
    if form.is_none() && !changes.is_empty() {
        say("")?;
        table(&changes, Size::row()).into_iter().try_for_each(say)?;
    }
    Ok(End::Done)
}

/// A row each; what is waited for gets what is left of the width.
fn rows(executions: &[PipelineExecution], now: Timestamp) -> Vec<[String; 7]> {
    let titles = ["NAME", "PIPELINE", "STATE", "STEP", "RELEASE", "AGE", "WAITS FOR"].map(String::from);
    std::iter::once(titles).chain(executions.iter().map(|execution| row(execution, now))).collect()
}

fn row(execution: &PipelineExecution, now: Timestamp) -> [String; 7] {
    let status = execution.status.clone().unwrap_or_default();
    let created = execution.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let short = |text: &str| clip(&one_line(text), 40);
    [
        execution.name_any(),
        short(&execution.spec.pipeline_ref.name),
        state(execution, &status.state),
        status.step.map(|step| step.as_str().to_string()).unwrap_or_default(),
        status.release.map(|release| release.digest().short()).unwrap_or_default(),
        span(between(created, now)),
        status.waiting_for.map(|waiting| one_line(&waiting.why)).unwrap_or_default(),
    ]
}

/// The state, and whether tests are skipped.
fn state(execution: &PipelineExecution, state: &str) -> String {
    let state = clip(&one_line(if state.is_empty() { "Pending" } else { state }), 40);
    if execution.spec.mode == Mode::Emergency { format!("{state}, {EMERGENCY}") } else { state }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn the_table_lines_up_and_fits() {
        let now: Timestamp = samples::NOW.parse().unwrap();
        let all = [samples::waiting(), samples::failed(), samples::unseen("2026-11-21T10:35:00Z")];
        assert_eq!(
            table(&rows(&all, now), 100).join("\n"),
            "\
NAME     PIPELINE         STATE    STEP                RELEASE       AGE  WAITS FOR
wknd-42  wknd-production  Waiting  approvalProduction  abababababab  0s   approval of the productio…
wknd-42  wknd-production  Failed   deployProduction    abababababab  0s
wknd-42  wknd-production  Pending                                    12s"
        );
    }
}
