//! `launchway roll-back`: production goes back to an earlier release, as an execution of its own.

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt;
use launchway_crds::{Pipeline, execution::PipelineExecutionSpec, pipeline::LedgerEntry};

use super::{
    CliError, End, print_json,
    releases::{self, Runs},
    request, say,
    screen::Size,
    session::Session,
    start::{self, StartArgs},
    status::Form,
    table::table,
    times::away,
};
use crate::text::one_line;

/// Arguments of `roll-back`.
#[derive(Args, Debug)]
pub struct RollBackArgs {
    /// Name of the Pipeline
    pub pipeline: String,
    /// Execution whose release production goes back to; without it those that can be named are listed
    #[arg(long, value_name = "EXECUTION")]
    pub to: Option<String>,
    /// Do not ask
    #[arg(short, long, requires = "to")]
    pub yes: bool,
    /// Why; everyone can read it
    #[arg(long, value_name = "TEXT", requires = "to")]
    pub reason: Option<String>,
    /// Another form of the list
    #[arg(short, long, value_name = "FORM", conflicts_with = "to")]
    pub output: Option<Form>,
    /// Name, following, cluster.
    #[command(flatten)]
    pub start: StartArgs,
}

/// Lists releases to go back to; or shows what production would become, asks, starts the execution.
///
/// # Errors
/// When the pipeline has no such release, the answer is no, or the apiserver refuses.
pub async fn run(args: RollBackArgs) -> Result<End, CliError> {
    let reason = args.reason.as_deref().map(request::reason).transpose()?;
    let session = Session::open(args.start.connection.clone()).await?;
    let pipeline = start::known(&session, &args.pipeline).await?;
    let pipeline = pipeline.ok_or_else(|| {
        CliError::said(format!("Pipeline {} cannot be read: its releases are unknown", args.pipeline))
    })?;
    let environment = releases::production(&pipeline)?;
    let runs = Runs::on(&session, environment).await;
    let now = Timestamp::now();
    let Some(to) = &args.to else {
        return list(&session, &pipeline, &runs, args.output, now);
    };
    let entry = chosen(&pipeline, to)?;
    if runs.is(entry) {
        return Err(CliError::said(format!("{environment} runs the release of {to} already: nothing would change")));
    }
    say(format!("{to} of pipeline {}, ended {}", args.pipeline, away(entry.at.0, now)))?;
    for line in releases::change(environment, &runs, entry, now) {
        say(format!("  {line}"))?;
    }
    say("  Code and configuration go back; content that later releases or people have written stays as it is.")?;
    let me = session.me().await?;
    say(format!("  you are {}", one_line(&me)))?;
    if !args.yes {
        request::confirm(&format!("Take {environment} back to the release of {to}?")).await?;
    }
    let spec = PipelineExecutionSpec {
        roll_back_to: Some(to.clone()),
        reason,
        ..PipelineExecutionSpec::usual(&args.pipeline, me)
    };
    start::start(&session, spec, &args.start).await
}

fn chosen<'a>(pipeline: &'a Pipeline, to: &str) -> Result<&'a LedgerEntry, CliError> {
    releases::succeeded(pipeline).find(|entry| entry.name == to).ok_or_else(|| {
        let name = pipeline.name_any();
        let known = format!("`kubectl launchway roll-back {name}` lists them");
        CliError::said(format!(
            "{to} is no execution of Pipeline {name} that succeeded, as far as it remembers: {known}"
        ))
    })
}

fn list(
    session: &Session,
    pipeline: &Pipeline,
    runs: &Runs,
    form: Option<Form>,
    now: Timestamp,
) -> Result<End, CliError> {
    if form == Some(Form::Json) {
        print_json(&releases::succeeded(pipeline).collect::<Vec<_>>())?;
        return Ok(End::Done);
    }
    let name = pipeline.name_any();
    if releases::succeeded(pipeline).next().is_none() {
        eprintln!("no execution of Pipeline {name} has succeeded yet: there is nothing to go back to");
        return Ok(End::Done);
    }
    for line in table(&candidates(pipeline, runs, now), Size::now().columns) {
        say(line)?;
    }
    eprintln!("go back with:\n  {}", session.plugin(&["roll-back", &name, "--to", "EXECUTION"]));
    Ok(End::Done)
}

fn candidates(pipeline: &Pipeline, runs: &Runs, now: Timestamp) -> Vec<[String; 6]> {
    let titles = ["EXECUTION", "RELEASE", "MADE", "ENDED", "STARTED AS", ""].map(String::from);
    let rows = releases::succeeded(pipeline).map(|entry| {
        let release = entry.release.as_ref().map(|release| release.digest().short()).unwrap_or_default();
        let made = entry.made_at.as_ref().map(|at| away(at.0, now)).unwrap_or_default();
        let mark = if runs.is(entry) { "runs now" } else { "" };
        let trigger = format!("{:?}", entry.trigger);
        [entry.name.clone(), release, made, away(entry.at.0, now), trigger, mark.into()]
    });
    std::iter::once(titles).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn the_list_has_what_succeeded_and_marks_what_runs() {
        let rows = candidates(&samples::full_stack(), &samples::runs('3', "2026-11-21T09:00:00Z"), now());
        assert_eq!(
            table(&rows, 100).join("\n"),
            "\
EXECUTION  RELEASE       MADE       ENDED       STARTED AS
wknd-41    333333333333  1h35m ago  35m12s ago  Manual      runs now
wknd-39    111111111111  3d0h ago   2d23h ago   Manual"
        );
    }

    #[test]
    fn an_execution_that_failed_is_no_way_back() {
        assert_eq!(chosen(&samples::full_stack(), "wknd-39").unwrap().name, "wknd-39");
        let error = chosen(&samples::full_stack(), "wknd-40").unwrap_err().to_string();
        assert!(error.contains("roll-back wknd` lists them"), "{error}");
    }

    fn now() -> Timestamp {
        samples::NOW.parse().unwrap()
    }
}
