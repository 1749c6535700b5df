//! `launchway reject`: says no to what an execution waits for.

use clap::Args;
use launchway_crds::{
    PipelineExecution,
    names::requests::{REJECT, REJECTED_BY},
    step::StepName,
};

use super::{
    CliError, End, gate, request, say,
    session::{Connection, Session},
};

/// Arguments of `reject`.
#[derive(Args, Debug)]
pub struct RejectArgs {
    /// Name of the execution
    pub name: String,
    /// Why; everyone can read it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// Rejects.
///
/// # Errors
/// When the execution waits for nobody's decision, or the apiserver refuses.
pub async fn run(args: RejectArgs) -> Result<End, CliError> {
    let reason = request::reason(&args.reason)?;
    let session = Session::open(args.connection).await?;
    let execution = session.execution(&args.name).await?;
    let what = rejected(&execution)?;
    let me = session.me().await?;
    let annotations = [(REJECT, reason.as_str()), (REJECTED_BY, me.as_str())];
    request::tell(&session, &execution, &annotations);
    request::annotate(&session, &execution, &annotations).await?;
    say(format!("{} rejected by {me}: {what}", args.name))?;
    Ok(End::Done)
}

/// What a no means at the step that waits.
fn rejected(execution: &PipelineExecution) -> Result<&'static str, CliError> {
    let wanted = "a decision that can be rejected (`cancel` stops it)";
    let (_, meaning) = request::awaiting(execution, wanted, |step| match step.name {
        StepName::ApprovalStage => Some("its tests do not begin"),
        StepName::ApprovalProduction | StepName::Schedule | StepName::Managed => Some("production stays as it is"),
        _ => gate::in_the_way(step).next().map(|_| "its failing metrics are not accepted"),
    })?;
    Ok(meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn every_decision_can_be_rejected_and_nothing_else() {
        assert_eq!(rejected(&samples::waiting()).unwrap(), "production stays as it is");
        assert_eq!(rejected(&samples::gate()).unwrap(), "its failing metrics are not accepted");
        assert_eq!(rejected(&samples::awaits(StepName::ApprovalStage)).unwrap(), "its tests do not begin");
        assert_eq!(rejected(&samples::awaits(StepName::Schedule)).unwrap(), "production stays as it is");
        let error = rejected(&samples::awaits(StepName::DeployProduction)).unwrap_err().to_string();
        assert!(error.contains("`cancel` stops it") && error.contains("it is at deployProduction"), "{error}");
    }
}
