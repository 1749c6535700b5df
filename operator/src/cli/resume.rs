//! `launchway resume`: lets a deployment that pauses go on, or stops it where it is.

use clap::Args;
use kube::ResourceExt;
use launchway_crds::{
    conditions::reasons,
    execution::PipelineExecutionStatus,
    names::requests::{RESUME, RESUMED_BY},
    step::StepName,
};

use super::{
    CliError, End, request, say,
    session::{Connection, Session},
};
use crate::text::one_line;

/// Arguments of `resume`.
#[derive(Args, Debug)]
pub struct ResumeArgs {
    /// Name of the execution
    pub name: String,
    /// Stop it instead: pairs that have the new release keep it, unless the Environment restores
    #[arg(long)]
    pub stop: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// Shows what is waited for, asks, resumes or stops.
///
/// # Errors
/// When no deployment pauses, the answer is no, or the apiserver refuses.
pub async fn run(args: ResumeArgs) -> Result<End, CliError> {
    let session = Session::open(args.connection).await?;
    let execution = session.execution(&args.name).await?;
    let status = execution.status.as_ref();
    if let Some((_, how)) = status.and_then(request::ended) {
        return Err(CliError::said(format!("{} has ended: {how}", execution.name_any())));
    }
    let waits = status.and_then(|status| status.waiting_for.as_ref());
    let is_put_off = status.is_some_and(is_put_off);
    let Some(waits) = waits.filter(|waits| waits.step == StepName::DeployProduction && !is_put_off) else {
        return Err(CliError::said(format!("no deployment of {} pauses: there is nothing to resume", args.name)));
    };
    say(format!("{} waits for {}", args.name, one_line(&waits.why)))?;
    let (value, question) =
        if args.stop { ("false", "Stop the deployment where it is?") } else { ("true", "Let it go on?") };
    if !args.yes {
        request::confirm(question).await?;
    }
    let me = session.me().await?;
    let annotations = [(RESUME, value), (RESUMED_BY, me.as_str())];
    request::tell(&session, &execution, &annotations);
    request::annotate(&session, &execution, &annotations).await?;
    say(format!("{} {} by {me}", args.name, if args.stop { "stopped" } else { "resumed" }))?;
    Ok(End::Done)
}

/// Whether a hold or a window keeps the deployment from beginning: nobody could look at any of it yet.
fn is_put_off(status: &PipelineExecutionStatus) -> bool {
    let step = status.steps.iter().find(|step| step.name == StepName::DeployProduction);
    step.and_then(|step| step.reason.as_deref())
        .is_some_and(|reason| [reasons::HELD, reasons::WINDOW_CLOSED].contains(&reason))
}
