//! What somebody has to know before they say yes to a release.

use jiff::Timestamp;
use kube::ResourceExt;
use launchway_crds::{
    PipelineExecution,
    digest::ImageRef,
    execution::{Mode, PipelineExecutionStatus},
    step::StepName,
};

use super::{
    gate,
    heading::{debt, scheduled, untested},
    parity,
    times::moment,
    tree::{self, Around},
};
use crate::text::one_line;

/// What was done with the release until now, where it goes, and until when a word is waited for.
#[must_use]
pub fn what(execution: &PipelineExecution, around: &Around, release: &ImageRef, now: Timestamp) -> Vec<String> {
    let status = execution.status.clone().unwrap_or_default();
    let by = execution.spec.requested_by.as_deref().unwrap_or("unknown");
    let mut lines = vec![
        format!("{} of pipeline {}", execution.name_any(), execution.spec.pipeline_ref.name),
        format!("  asked by   {}", one_line(by)),
    ];
    if execution.spec.mode == Mode::Emergency {
        lines.push("  emergency  tests are skipped".into());
    }
    if let Some(reason) = &execution.spec.reason {
        lines.push(format!("  because    {}", one_line(reason)));
    }
    lines.push(format!("  release    {release}"));
    if let Some(source) = &status.source {
        lines.push(format!("  made by    {} of pipeline {}", source.execution, source.pipeline));
        lines.extend(untested(&source.skipped).map(|told| format!("  emergency  {told}")));
    }
    if let Some(artifact) = &status.artifact {
        lines.push(format!("  packages   {}", artifact.reference));
    }
    lines.extend(titled("tested", tested(&status, now)));
    lines.extend(titled("said", said(&status, now)));
    lines.extend(titled("debt", debt(&around.debt, now)));
    lines.extend(titled("goes to", goes_to(&status, around, release)));
    let parity = parity::at_the_gate(execution, around);
    let mut differs = parity.map(|(stage, production)| parity::differences(stage, production)).unwrap_or_default();
    differs.extend(parity.map(|_| parity::packages(execution, around.there.as_deref())).unwrap_or_default());
    lines.extend(titled("differs", differs));
    if let Some(until) = status.waiting_for.as_ref().and_then(|waiting| waiting.until.as_ref()) {
        lines.push(format!("  until      {}", moment(until.0, now)));
    }
    lines
}

fn titled(title: &str, lines: Vec<String>) -> impl Iterator<Item = String> {
    let head = move |number| if number == 0 { title.to_string() } else { String::new() };
    lines.into_iter().enumerate().map(move |(number, line)| format!("  {:9}  {line}", head(number)))
}

/// Steps from the gate of the packages to the last test, with the metrics that fail.
fn tested(status: &PipelineExecutionStatus, now: Timestamp) -> Vec<String> {
    let mut lines = vec![];
    for step in &status.steps {
        let tests = (StepName::CodeQuality..StepName::ApprovalProduction).contains(&step.name);
        let acts = matches!(step.name, StepName::BuildImage | StepName::ApprovalStage);
        if !tests || acts || !step.state.is_terminal() {
            continue;
        }
        lines.push(tree::summary(step, now));
        lines.extend(gate::failing(step).map(|metric| format!("  ✗ {}", gate::line(metric))));
    }
    lines
}

/// What people said about this release before.
fn said(status: &PipelineExecutionStatus, now: Timestamp) -> Vec<String> {
    let approvals = status.approvals.iter().map(|given| {
        format!("{} approved at {} by {}", given.step.as_str(), moment(given.at.0, now), one_line(&given.by))
    });
    let overrides = status.overrides.iter().map(|given| {
        let metrics = one_line(&given.metrics.join(", "));
        format!("{metrics} of {} accepted by {}", given.step.as_str(), one_line(&given.by))
    });
    let time = status.scheduled.iter().map(|chosen| scheduled(chosen, now));
    overrides.chain(approvals).chain(time).collect()
}

fn goes_to(status: &PipelineExecutionStatus, around: &Around, release: &ImageRef) -> Vec<String> {
    let Some(name) = status.environments.as_ref().and_then(|names| names.production.as_ref()) else { return vec![] };
    let deployed = around
        .environments
        .get(name)
        .map(|environment| environment.status.as_ref().and_then(|status| status.deployed.as_ref()));
    let runs = match deployed {
        Some(Some(deployed)) if deployed.release.digest() == release.digest() => {
            "which runs this release already".into()
        }
        Some(Some(deployed)) => format!("which runs {} of {}", deployed.release.digest(), deployed.execution),
        Some(None) => "where nothing was ever deployed".into(),
        None => "whose state cannot be read".into(),
    };
    vec![format!("{name}, {runs}")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    fn shown(execution: &PipelineExecution, around: &Around) -> String {
        let release = execution.status.as_ref().unwrap().release.clone().unwrap();
        what(execution, around, &release, samples::NOW.parse().unwrap()).join("\n")
    }

    #[test]
    fn an_approver_sees_the_whole_digest_and_what_stage_did() {
        let digest = "ab".repeat(32);
        let expected = format!(
            "wknd-42 of pipeline wknd-production
  asked by   ann
  release    registry.example.com/wknd/images@sha256:{digest}
  tested     deployStage Finished in 3m10s
             smokeTest Finished in 4s: 3 pages
             functionalTest Incomplete: the pipeline names no functional test
  goes to    prod, whose state cannot be read
  until      2026-12-05 10:30:00 UTC (in 13d23h)"
        );
        assert_eq!(shown(&samples::waiting(), &Around::default()), expected);
    }

    #[test]
    fn an_approver_sees_what_an_emergency_skipped_and_what_somebody_accepted() {
        let text = shown(&samples::emergency(), &samples::around());
        for part in [
            "  emergency  tests are skipped\n  because    checkout is down",
            "codeQuality Finished in 40s: coverage is 42.1; accepted by dana\n               ✗ coverage is 42.1, needed ≥ 50 (important)",
            "securityTest Incomplete: skipped in an emergency",
            "  said       coverage, skipped_tests of codeQuality accepted by dana\n",
            "  debt       securityTest since wknd-40 (3d0h ago)\n             loadTest since",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }

    #[test]
    fn an_approver_sees_what_differs_between_stage_and_production() {
        let text = shown(&samples::waiting(), &samples::with_environments());
        for part in
            ["  differs    runs now: stage abababababab of wknd-42, prod no release\n", "pairs: stage 1, prod 2"]
        {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }

    #[test]
    fn who_promotes_or_gives_the_go_sees_where_the_release_comes_from() {
        let text = shown(&samples::promoted(), &Around::default());
        assert!(text.contains("  made by    wknd-stage-7 of pipeline wknd-stage\n"), "{text}");
        assert!(text.contains("  said       approvalProduction approved at 2026-11-21 10:30:00 UTC"), "{text}");
        assert!(!text.contains("emergency"), "{text}");
    }

    #[test]
    fn who_approves_a_promotion_sees_what_an_emergency_left_out_before() {
        let mut execution = samples::promoted();
        let source = execution.status.as_mut().unwrap().source.as_mut().unwrap();
        source.skipped = vec![StepName::SecurityTest, StepName::LoadTest];
        let text = shown(&execution, &Around::default());
        let told = "of pipeline wknd-stage\n  emergency  securityTest, loadTest left out in an emergency\n";
        assert!(text.contains(told), "{text}");
    }
}
