//! `launchway approve`: says yes to exactly the release that stage tested.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt;
use launchway_crds::{
    Environment, PipelineExecution,
    digest::ImageRef,
    names::requests::{APPROVE_PRODUCTION, APPROVED_BY},
    step::StepName,
};

use super::{
    CliError, End, request, say,
    session::{Connection, Session},
    tree,
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

/// Shows what is approved, asks, approves.
///
/// # Errors
/// When the execution waits for no approval, the answer is no, or the apiserver refuses.
pub async fn run(args: ApproveArgs) -> Result<End, CliError> {
    let session = Session::open(args.connection).await?;
    let execution = session.execution(&args.name).await?;
    let release = release(&execution)?;
    let environments = session.environments(&execution).await;
    for line in what(&execution, &environments, release, Timestamp::now()) {
        say(line)?;
    }
    let me = session.me().await?;
    say(format!("  you are    {}", one_line(&me)))?;
    let digest = release.digest().to_string();
    let annotations = [(APPROVE_PRODUCTION, digest.as_str()), (APPROVED_BY, me.as_str())];
    request::tell(&session, &execution, &annotations);
    if !args.yes {
        request::confirm("Deploy this release to production?").await?;
    }
    request::annotate(&session, &execution, &annotations).await?;
    say(format!("{} approved by {me}", args.name))?;
    eprintln!("follow it with:\n  {}", session.plugin(&["status", &args.name, "-w"]));
    Ok(End::Done)
}

/// The release that can be approved now.
fn release(execution: &PipelineExecution) -> Result<&ImageRef, CliError> {
    let status = request::awaiting_approval(execution)?;
    let name = execution.name_any();
    if let Some(value) = execution.annotations().get(APPROVE_PRODUCTION) {
        let who = execution.annotations().get(APPROVED_BY).map_or("somebody", String::as_str);
        let (value, who) = (one_line(value), one_line(who));
        return Err(CliError::said(format!(
            "{name} is approved already, by {who} for {value}: an approval is given once"
        )));
    }
    status
        .release
        .as_ref()
        .ok_or_else(|| CliError::said(format!("{name} names no release yet: there is nothing to approve")))
}

/// What an approver has to know.
fn what(
    execution: &PipelineExecution,
    environments: &BTreeMap<String, Environment>,
    release: &ImageRef,
    now: Timestamp,
) -> Vec<String> {
    let status = execution.status.clone().unwrap_or_default();
    let by = execution.spec.requested_by.as_deref().unwrap_or("unknown");
    let mut lines = vec![
        format!("{} of pipeline {}", execution.name_any(), execution.spec.pipeline_ref.name),
        format!("  asked by   {}", one_line(by)),
        format!("  release    {release}"),
    ];
    if let Some(artifact) = &status.artifact {
        lines.push(format!("  packages   {}", artifact.reference));
    }
    let mut head = "  stage      ";
    for step in [StepName::DeployStage, StepName::SmokeTest, StepName::FunctionalTest] {
        if let Some(step) = status.steps.iter().find(|have| have.name == step) {
            lines.push(format!("{head}{}", tree::summary(step, now)));
            head = "             ";
        }
    }
    if let Some(names) = &status.environments {
        let deployed = environments
            .get(&names.production)
            .map(|environment| environment.status.as_ref().and_then(|status| status.deployed.as_ref()));
        let runs = match deployed {
            Some(Some(deployed)) if deployed.release.digest() == release.digest() => {
                "which runs this release already".into()
            }
            Some(Some(deployed)) => format!("which runs {} of {}", deployed.release.digest(), deployed.execution),
            Some(None) => "where nothing was ever deployed".into(),
            None => "whose state cannot be read".into(),
        };
        lines.push(format!("  goes to    {}, {runs}", names.production));
    }
    if let Some(until) = status.waiting_for.as_ref().and_then(|waiting| waiting.until.as_ref()) {
        lines.push(format!("  until      {}", tree::moment(until.0, now)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tree::samples;

    #[test]
    fn an_approver_sees_the_whole_digest_and_what_stage_did() {
        let execution = samples::waiting();
        let release = release(&execution).unwrap();
        let text = what(&execution, &BTreeMap::new(), release, samples::NOW.parse().unwrap()).join("\n");
        let digest = "ab".repeat(32);
        let expected = format!(
            "wknd-42 of pipeline wknd-production
  asked by   ann
  release    registry.example.com/wknd/images@sha256:{digest}
  stage      deployStage Finished in 3m10s
             smokeTest Finished in 4s: 3 pages
             functionalTest Incomplete: the pipeline names no functional test
  goes to    prod, whose state cannot be read
  until      2026-12-05 10:30:00 UTC (in 13d23h)"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn what_cannot_be_approved_says_why() {
        let mut execution = samples::waiting();
        execution.annotations_mut().insert(APPROVE_PRODUCTION.into(), "sha256:x".into());
        execution.annotations_mut().insert(APPROVED_BY.into(), "bob".into());
        assert!(release(&execution).unwrap_err().to_string().contains("approved already, by bob"));
        let error = release(&samples::rolling()).unwrap_err().to_string();
        assert_eq!(error, "wknd-42 does not wait for an approval: it is at deployProduction");
        let error = release(&samples::failed()).unwrap_err().to_string();
        assert!(error.starts_with("wknd-42 has ended: Failed: "), "{error}");
    }
}
