//! `launchway promote`: takes the latest release that a stage-only pipeline tested to production.

use clap::Args;
use jiff::Timestamp;
use kube::{ResourceExt, api::ListParams};
use launchway_crds::execution::PipelineExecutionSpec;

use super::{
    CliError, End,
    releases::{self, Runs},
    request, say,
    session::Session,
    start::{self, StartArgs},
    times::away,
};
use crate::{
    client::{CALL, within},
    text::one_line,
};

/// Arguments of `promote`.
#[derive(Args, Debug)]
pub struct PromoteArgs {
    /// Stage-only execution, or a pipeline of type StageOnly or ProductionOnly; default: the only one of the latter
    #[arg(value_name = "PIPELINE|EXECUTION")]
    pub what: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Why; everyone can read it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Name, following, cluster.
    #[command(flatten)]
    pub start: StartArgs,
}

/// Shows what production would become, asks, starts the execution.
///
/// # Errors
/// When there is nothing to promote, production runs it or something newer, the answer is no, or the apiserver refuses.
pub async fn run(args: PromoteArgs) -> Result<End, CliError> {
    let reason = args.reason.as_deref().map(request::reason).transpose()?;
    let session = Session::open(args.start.connection.clone()).await?;
    let pipelines = within(CALL, session.pipelines().list(&ListParams::default())).await?.items;
    let (target, entry) = releases::promotion(&pipelines, args.what.as_deref())?;
    let environment = releases::production(target)?;
    let runs = Runs::on(&session, environment).await;
    let pipeline = target.name_any();
    worth_it(&pipeline, environment, &runs, entry)?;
    let now = Timestamp::now();
    let source = target.spec.source.pipeline.as_deref().unwrap_or_default();
    say(format!("{} of pipeline {source}, ended {}", entry.name, away(entry.at.0, now)))?;
    for line in releases::change(environment, &runs, entry, now) {
        say(format!("  {line}"))?;
    }
    let me = session.me().await?;
    say(format!("  by pipeline {pipeline}, which waits for {}", releases::waits(target)))?;
    say(format!("  you are {}", one_line(&me)))?;
    if !args.yes {
        request::confirm(&format!("Promote {} to {environment}?", entry.name)).await?;
    }
    let spec = PipelineExecutionSpec {
        source_execution: Some(entry.name.clone()),
        reason,
        ..PipelineExecutionSpec::usual(&pipeline, me)
    };
    start::start(&session, spec, &args.start).await
}

/// A promotion that changes nothing, or takes production back, is not what was meant.
fn worth_it(
    pipeline: &str,
    environment: &str,
    runs: &Runs,
    entry: &launchway_crds::pipeline::LedgerEntry,
) -> Result<(), CliError> {
    let name = &entry.name;
    if runs.is(entry) {
        let again = format!("kubectl launchway re-execute {pipeline}");
        return Err(CliError::said(format!(
            "{environment} runs the release of {name} already; to deploy it again: `{again}`"
        )));
    }
    match runs.newer_than(entry) {
        Some(made) => Err(CliError::said(format!(
            "{environment} runs a release that was made later, at {made}: to go back to that of {name} on purpose: \
             `kubectl launchway run {pipeline} --source {name} --allow-older`"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn what_production_runs_or_what_is_older_is_not_promoted() {
        let stage = samples::stage_only();
        let latest = releases::succeeded(&stage).next().unwrap();
        let said = |runs: &Runs| worth_it("wknd-prod", "prod", runs, latest).map_err(|error| error.to_string());
        assert_eq!(said(&Runs::Nothing), Ok(()));
        assert_eq!(said(&Runs::Unknown), Ok(()));
        assert_eq!(said(&samples::runs('a', "2026-11-20T10:00:00Z")), Ok(()));
        let error = said(&samples::runs('7', "2026-11-21T09:00:00Z")).unwrap_err();
        assert!(error.contains("already") && error.contains("re-execute wknd-prod"), "{error}");
        let error = said(&samples::runs('a', "2026-11-21T10:00:00Z")).unwrap_err();
        assert!(error.contains("run wknd-prod --source wknd-stage-7 --allow-older"), "{error}");
    }
}
