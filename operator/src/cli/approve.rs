//! `launchway approve`: says yes to exactly the release that an execution waits with, on stage or for production.

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt;
use launchway_crds::{
    PipelineExecution,
    digest::ImageRef,
    execution::Step,
    names::requests::{APPROVE_PRODUCTION, APPROVE_STAGE, APPROVED_BY, APPROVED_STAGE_BY, MANAGED_GO, MANAGED_GO_BY},
    step::StepName,
};

use super::{
    CliError, End, approval, request, say,
    session::{Connection, Session},
};
use crate::text::one_line;

/// Arguments of `approve`.
#[derive(Args, Debug)]
pub struct ApproveArgs {
    /// Name of the execution
    pub name: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// A yes that an execution can wait for: the step, its annotations, and words for people.
#[derive(Debug, PartialEq, Eq)]
struct Yes {
    step: StepName,
    key: &'static str,
    by: &'static str,
    question: &'static str,
    done: &'static str,
}

const YES: [Yes; 3] = [
    Yes {
        step: StepName::ApprovalStage,
        key: APPROVE_STAGE,
        by: APPROVED_STAGE_BY,
        question: "Let the tests of this release begin?",
        done: "approved on stage",
    },
    Yes {
        step: StepName::ApprovalProduction,
        key: APPROVE_PRODUCTION,
        by: APPROVED_BY,
        question: "Deploy this release to production?",
        done: "approved",
    },
    Yes {
        step: StepName::Managed,
        key: MANAGED_GO,
        by: MANAGED_GO_BY,
        question: "Give the go for this release to production?",
        done: "given the go",
    },
];

/// Shows what is approved, asks, approves.
///
/// # Errors
/// When the execution waits for no approval, the answer is no, or the apiserver refuses.
pub async fn run(args: ApproveArgs) -> Result<End, CliError> {
    let session = Session::open(args.connection).await?;
    let execution = session.execution(&args.name).await?;
    let (yes, release) = awaited(&execution)?;
    let around = session.around(&execution).await;
    for line in approval::what(&execution, &around, release, Timestamp::now()) {
        say(line)?;
    }
    let me = session.me().await?;
    say(format!("  you are    {}", one_line(&me)))?;
    let digest = release.digest().to_string();
    let annotations = [(yes.key, digest.as_str()), (yes.by, me.as_str())];
    request::tell(&session, &execution, &annotations);
    if !args.yes {
        request::confirm(yes.question).await?;
    }
    request::annotate(&session, &execution, &annotations).await?;
    say(format!("{} {} by {me}", args.name, yes.done))?;
    eprintln!("follow it with:\n  {}", session.plugin(&["status", &args.name, "-w"]));
    Ok(End::Done)
}

/// The yes that is waited for, and the release that it is for.
fn awaited(execution: &PipelineExecution) -> Result<(&'static Yes, &ImageRef), CliError> {
    let wanted = |step: &Step| YES.iter().find(|yes| yes.step == step.name);
    let (status, yes) = request::awaiting(execution, "an approval", wanted)?;
    let name = execution.name_any();
    if let Some(value) = execution.annotations().get(yes.key) {
        let who = execution.annotations().get(yes.by).map_or("somebody", String::as_str);
        let (value, who) = (one_line(value), one_line(who));
        return Err(CliError::said(format!(
            "{name} is {} already, by {who} for {value}: that is said once, and the operator will act on it",
            yes.done
        )));
    }
    let release = status.release.as_ref();
    let release =
        release.ok_or_else(|| CliError::said(format!("{name} names no release yet: there is nothing to approve")))?;
    Ok((yes, release))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn each_step_that_waits_for_a_yes_has_annotations_of_its_own() {
        for (step, key, by) in [
            (StepName::ApprovalStage, "launchway.dev/approve-stage", "launchway.dev/approved-stage-by"),
            (StepName::ApprovalProduction, "launchway.dev/approve-production", "launchway.dev/approved-by"),
            (StepName::Managed, "launchway.dev/managed-go", "launchway.dev/managed-go-by"),
        ] {
            let execution = samples::awaits(step);
            let (yes, release) = awaited(&execution).unwrap();
            assert_eq!((yes.key, yes.by), (key, by));
            assert_eq!(release.digest().hex(), "ab".repeat(32));
        }
    }

    #[test]
    fn what_cannot_be_approved_says_why() {
        let mut execution = samples::waiting();
        execution.annotations_mut().insert(APPROVE_PRODUCTION.into(), "sha256:x".into());
        execution.annotations_mut().insert(APPROVED_BY.into(), "bob".into());
        assert!(awaited(&execution).unwrap_err().to_string().contains("approved already, by bob"));
        let error = awaited(&samples::rolling()).unwrap_err().to_string();
        assert_eq!(error, "wknd-42 does not wait for an approval: it is at deployProduction");
        let error = awaited(&samples::awaits(StepName::Schedule)).unwrap_err().to_string();
        assert!(error.starts_with("wknd-42 does not wait for an approval: it is at schedule"), "{error}");
        let error = awaited(&samples::failed()).unwrap_err().to_string();
        assert!(error.starts_with("wknd-42 has ended: Failed: "), "{error}");
    }
}
