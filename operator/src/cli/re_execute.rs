//! `launchway re-execute`: does the last deployment to production again.

use clap::Args;
use jiff::Timestamp;
use launchway_crds::execution::PipelineExecutionSpec;

use super::{
    CliError, End,
    releases::{self, Runs},
    request, say,
    session::Session,
    start::{self, StartArgs},
    times::away,
};
use crate::text::one_line;

/// Arguments of `re-execute`.
#[derive(Args, Debug)]
pub struct ReExecuteArgs {
    /// Name of the Pipeline
    pub pipeline: String,
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

/// Shows what is deployed again, asks, starts the execution.
///
/// # Errors
/// When the last execution cannot be executed again, the answer is no, or the apiserver refuses.
pub async fn run(args: ReExecuteArgs) -> Result<End, CliError> {
    let reason = args.reason.as_deref().map(request::reason).transpose()?;
    let session = Session::open(args.start.connection.clone()).await?;
    let pipeline = start::known(&session, &args.pipeline).await?;
    let pipeline = pipeline.ok_or_else(|| {
        CliError::said(format!("Pipeline {} cannot be read: its last execution is unknown", args.pipeline))
    })?;
    let entry = releases::again(&pipeline)?;
    let environment = releases::production(&pipeline)?;
    let now = Timestamp::now();
    let runs = Runs::on(&session, environment).await;
    say(format!("{} of pipeline {}, ended {} as {}", entry.name, args.pipeline, away(entry.at.0, now), entry.result))?;
    for line in releases::change(environment, &runs, entry, now) {
        say(format!("  {line}"))?;
    }
    let me = session.me().await?;
    say(format!("  you are {}", one_line(&me)))?;
    if !args.yes {
        request::confirm(&format!("Deploy the release of {} to {environment} again?", entry.name)).await?;
    }
    let spec = PipelineExecutionSpec {
        re_execute: Some(entry.name.clone()),
        reason,
        ..PipelineExecutionSpec::usual(&args.pipeline, me)
    };
    start::start(&session, spec, &args.start).await
}
