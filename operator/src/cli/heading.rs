//! What stands above the steps of an execution: its state, who asked for what, and what its pipeline owes.

use jiff::{Timestamp, tz::TimeZone};
use kube::ResourceExt;
use launchway_crds::{
    PipelineExecution,
    execution::{Mode, PipelineExecutionStatus, ScheduleRecord, Trigger},
    pipeline::Debt,
    step::StepName,
};

use super::times::{away, between, local, span};
use crate::text::{one_line, wrap};

/// Lines above the steps. Only the release is ever longer than `width`: it is there to be copied.
#[must_use]
pub fn heading(
    execution: &PipelineExecution,
    status: &PipelineExecutionStatus,
    owed: &[Debt],
    now: Timestamp,
    width: usize,
) -> Vec<String> {
    let mut lines = vec![first(execution, status, now)];
    let mut asked = execution.spec.pipeline_ref.name.clone();
    if let Some(by) = &execution.spec.requested_by {
        asked.push_str(&format!(", asked by {}", one_line(by)));
    }
    lines.extend(titled("pipeline", &asked, width));
    if let Some(revision) = &execution.spec.change {
        lines.extend(titled("change", &one_line(revision), width));
    }
    if let Some((title, text)) = origin(execution, status) {
        let untested = status.source.as_ref().and_then(|source| untested(&source.skipped));
        lines.extend(titled(title, &[text].into_iter().chain(untested).collect::<Vec<_>>().join(", "), width));
    }
    if let Some(commit) = &status.commit {
        lines.extend(titled("commit", &format!("{} of {}", one_line(&commit.id), one_line(&commit.reference)), width));
    }
    if let Some(version) = status.build.as_ref().and_then(|build| build.artifacts_version.as_ref()) {
        lines.extend(titled("version", &version.to_string(), width));
    }
    if let Some(reason) = &execution.spec.reason {
        lines.extend(titled("because", &one_line(reason), width));
    }
    if let Some(chosen) = &status.scheduled {
        lines.extend(titled("time", &scheduled(chosen, now), width));
    }
    if !owed.is_empty() {
        lines.extend(titled("debt", &debt(owed, now).join(", "), width));
    }
    if let Some(release) = &status.release {
        lines.push(format!("{:TITLE$}{release}", "release"));
    }
    lines
}

/// Says that tests are skipped.
pub const EMERGENCY: &str = "EMERGENCY";

/// Width of the titles above and below the steps.
pub const TITLE: usize = 11;

/// A text beside its title, as many lines as it needs.
pub fn titled(title: &str, text: &str, width: usize) -> impl Iterator<Item = String> {
    let lines = wrap(text, width.saturating_sub(TITLE)).into_iter().enumerate();
    lines.map(move |(number, line)| format!("{:TITLE$}{line}", if number == 0 { title } else { "" }))
}

fn first(execution: &PipelineExecution, status: &PipelineExecutionStatus, now: Timestamp) -> String {
    let state = if status.state.is_empty() { "Pending" } else { &status.state };
    let mut parts = vec![execution.name_any(), one_line(state)];
    if let Some(begun) = &status.start_time {
        let end = status.completion_time.as_ref().map_or(now, |time| time.0);
        parts.push(span(between(begun.0, end)));
    }
    if execution.spec.mode == Mode::Emergency {
        parts.push(EMERGENCY.into());
    }
    parts.join("  ")
}

/// The execution whose release is taken, where nothing is built.
fn origin(execution: &PipelineExecution, status: &PipelineExecutionStatus) -> Option<(&'static str, String)> {
    let spec = &execution.spec;
    let asked = spec.source_execution.as_ref().or(spec.re_execute.as_ref()).or(spec.roll_back_to.as_ref());
    let title = match (status.trigger, &spec.re_execute, &spec.roll_back_to) {
        (Trigger::ReExecute, ..) | (_, Some(_), _) => "again",
        (Trigger::RollBack, ..) | (_, _, Some(_)) => "back to",
        (Trigger::Promote | Trigger::Manual | Trigger::OnChange, None, None) => "promotes",
    };
    match (&status.source, asked) {
        (Some(source), _) if source.pipeline == spec.pipeline_ref.name => Some((title, one_line(&source.execution))),
        (Some(source), _) => {
            Some((title, format!("{} of pipeline {}", one_line(&source.execution), one_line(&source.pipeline))))
        }
        (None, Some(name)) => Some((title, one_line(name))),
        (None, None) => None,
    }
}

/// What the release of another execution never had; nothing to say of most.
#[must_use]
pub fn untested(skipped: &[StepName]) -> Option<String> {
    let steps: Vec<&str> = skipped.iter().map(|step| step.as_str()).collect();
    (!steps.is_empty()).then(|| format!("{} left out in an emergency", steps.join(", ")))
}

/// Tests that an emergency skipped and that nothing has passed since, one each.
#[must_use]
pub fn debt(owed: &[Debt], now: Timestamp) -> Vec<String> {
    let since = |debt: &Debt| format!("{} ({})", one_line(&debt.execution), away(debt.since.0, now));
    owed.iter().map(|debt| format!("{} since {}", debt.step.as_str(), since(debt))).collect()
}

/// A time for production as somebody chose it, on the clocks of the zone that they named.
#[must_use]
pub fn scheduled(chosen: &ScheduleRecord, now: Timestamp) -> String {
    let by = one_line(&chosen.by);
    if chosen.text == "now" {
        return format!("at once, chosen by {by}");
    }
    let zone = chosen.text.rsplit_once('[').and_then(|(_, zone)| zone.strip_suffix(']'));
    let zone = zone.and_then(|zone| TimeZone::get(zone).ok()).unwrap_or(TimeZone::UTC);
    format!("{}, {}, chosen by {by}", local(&chosen.at.0.to_zoned(zone)), away(chosen.at.0, now))
}
