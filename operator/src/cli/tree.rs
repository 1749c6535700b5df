//! An execution as a tree of its steps: a pure drawing, so that it can be compared with texts in tests.

use std::{collections::BTreeMap, time::Duration};

use jiff::{Timestamp, Unit};
use kube::ResourceExt;
use launchway_crds::{
    Environment, PipelineExecution,
    environment::{RolloutState, RolloutStatus},
    execution::{PipelineExecutionStatus, Step, WaitingFor},
    step::{StepName, StepState},
};

use super::request::ending;
use crate::text::{clip, one_line, wrap};

/// Cells of a rollout's bar.
const BAR: usize = 10;
/// Longer names are cut: messages need the room.
const ENVIRONMENT_MAX: usize = 20;
/// An operator that runs sees an execution within a second.
const UNSEEN: Duration = Duration::from_secs(30);

/// Lines that show the execution at the moment `now` on a terminal of `width` characters. Only commands and
/// digests are ever longer than that: they are there to be copied.
#[must_use]
pub fn draw(
    execution: &PipelineExecution,
    environments: &BTreeMap<String, Environment>,
    now: Timestamp,
    width: usize,
) -> Vec<String> {
    let status = execution.status.clone().unwrap_or_default();
    let mut lines = head(execution, &status, now);
    if status.steps.is_empty() {
        lines.extend(unseen(execution, now));
        return lines;
    }
    let names = status.steps.iter().map(|step| step.name.as_str().len()).max().unwrap_or_default();
    let places = status.steps.iter().filter_map(|step| step.environment.as_ref()).map(|name| name.chars().count());
    let places = places.max().unwrap_or_default().min(ENVIRONMENT_MAX);
    let last = status.steps.len() - 1;
    for (number, step) in status.steps.iter().enumerate() {
        let (branch, below) = if number == last { ("└─", "  ") } else { ("├─", "│ ") };
        let place = clip(step.environment.as_deref().unwrap_or_default(), places);
        let time = taken(step, now).map(span).unwrap_or_default();
        let row = format!("{branch} {} {:names$}  {place:places$}  {time:>7}", sign(step.state), step.name.as_str());
        let note = note(step);
        let room = width.saturating_sub(row.chars().count() + 2);
        // What went wrong is shown whole, below; what went well may be cut.
        if !fails(step.state) || note.chars().count() <= room {
            lines.push(clip(format!("{row}  {note}").trim_end(), width));
        } else {
            lines.push(row);
            lines.extend(wrap(&note, width.saturating_sub(6)).into_iter().map(|line| format!("{below}    {line}")));
        }
        if let Some(rollout) = rollout(execution, step, environments) {
            lines.push(clip(&format!("{below}    {}", progress(rollout, now)), width));
        }
    }
    match (&status.waiting_for, ending(&status)) {
        (_, Some(how)) => {
            lines.push(String::new());
            lines.extend(wrap(&how, width));
        }
        (Some(waiting), None) => {
            lines.push(String::new());
            lines.extend(waits(waiting, now, width));
        }
        (None, None) => {}
    }
    lines
}

fn head(execution: &PipelineExecution, status: &PipelineExecutionStatus, now: Timestamp) -> Vec<String> {
    let state = if status.state.is_empty() { "Pending" } else { &status.state };
    let mut first = format!("{}  {}", execution.name_any(), one_line(state));
    let begun = status.start_time.as_ref().map(|time| time.0);
    let end = status.completion_time.as_ref().map_or(now, |time| time.0);
    if let Some(begun) = begun {
        first.push_str(&format!("  {}", span(between(begun, end))));
    }
    let mut second = format!("pipeline {}", execution.spec.pipeline_ref.name);
    if let Some(by) = &execution.spec.requested_by {
        second.push_str(&format!(", asked by {}", one_line(by)));
    }
    let mut lines = vec![first, second];
    if let Some(release) = &status.release {
        lines.push(format!("release {release}"));
    }
    lines
}

fn unseen(execution: &PipelineExecution, now: Timestamp) -> Vec<String> {
    let created = execution.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let waited = between(created, now);
    if waited < UNSEEN {
        return vec!["not begun yet".into()];
    }
    vec![
        format!("not begun for {}: is the operator running, and does it watch this namespace?", span(waited)),
        "  kubectl get leases -A -l app.kubernetes.io/managed-by=launchway".into(),
        "  kubectl get pods -A -l app.kubernetes.io/name=launchway".into(),
    ]
}

/// What a step waits for, in the words of the status, and the whole command.
fn waits(waiting: &WaitingFor, now: Timestamp, width: usize) -> Vec<String> {
    let mut lines = vec![];
    let mut row = |title: &str, text: &str| {
        for (number, line) in wrap(text, width.saturating_sub(11)).into_iter().enumerate() {
            lines.push(format!("{:11}{line}", if number == 0 { title } else { "" }));
        }
    };
    row("waits for", &one_line(&waiting.why));
    row("since", &moment(waiting.since.0, now));
    if let Some(until) = &waiting.until {
        row("until", &moment(until.0, now));
    }
    if let Some(who) = &waiting.who {
        row("who", &one_line(who));
    }
    if let Some(command) = &waiting.command {
        lines.push(format!("{:11}{}", "command", one_line(command)));
    }
    lines
}

/// The rollout that a deploying step drives, when the Environment says that it is this execution's.
#[must_use]
pub fn rollout<'a>(
    execution: &PipelineExecution,
    step: &Step,
    environments: &'a BTreeMap<String, Environment>,
) -> Option<&'a RolloutStatus> {
    let deploys = matches!(step.name, StepName::DeployStage | StepName::DeployProduction);
    let shown = matches!(step.state, StepState::Running | StepState::Waiting) || fails(step.state);
    if !deploys || !shown {
        return None;
    }
    let status = environments.get(step.environment.as_ref()?)?.status.as_ref()?;
    let ours = status.target.as_ref().is_some_and(|target| Some(&target.uid) == execution.metadata.uid.as_ref());
    status.rollout.as_ref().filter(|_| ours)
}

/// `Pair 1  █████░░░░░ 1/2 pairs  1m20s  waits for publish-1`
#[must_use]
pub fn progress(rollout: &RolloutStatus, now: Timestamp) -> String {
    let mut parts = vec![one_line(&rollout.phase)];
    if let (Ok(updated), Ok(total @ 1..)) = (usize::try_from(rollout.updated), usize::try_from(rollout.total)) {
        let full = (updated.min(total) * BAR) / total;
        parts.push(format!("{}{} {updated}/{total} pairs", "█".repeat(full), "░".repeat(BAR - full)));
    }
    if rollout.state == RolloutState::Progressing {
        parts.push(span(between(rollout.since.0, now)));
    }
    if !rollout.message.is_empty() {
        parts.push(one_line(&rollout.message));
    }
    parts.join("  ")
}

/// One line about a step that needs no columns.
#[must_use]
pub fn summary(step: &Step, now: Timestamp) -> String {
    let mut text = format!("{} {:?}", step.name.as_str(), step.state);
    if step.state != StepState::Incomplete
        && let Some(taken) = taken(step, now)
    {
        text.push_str(&format!(" in {}", span(taken)));
    }
    let note = step.message.as_deref().map(one_line).unwrap_or_default();
    if note.is_empty() { text } else { format!("{text}: {note}") }
}

/// A character for each state; every one is a column wide.
#[must_use]
pub const fn sign(state: StepState) -> char {
    match state {
        StepState::NotStarted => '·',
        StepState::Running => '▶',
        StepState::Waiting => '◷',
        StepState::Finished => '✓',
        StepState::Failed => '✗',
        StepState::Error => '!',
        StepState::Cancelled => '⊘',
        StepState::Incomplete => '–',
    }
}

const fn fails(state: StepState) -> bool {
    matches!(state, StepState::Failed | StepState::Error | StepState::Cancelled)
}

fn note(step: &Step) -> String {
    let message = step.message.as_deref().map(one_line).unwrap_or_default();
    match &step.reason {
        Some(reason) if fails(step.state) && message.is_empty() => one_line(reason),
        Some(reason) if fails(step.state) => format!("{}: {message}", one_line(reason)),
        _ => message,
    }
}

fn taken(step: &Step, now: Timestamp) -> Option<Duration> {
    let begun = step.started_at.as_ref()?.0;
    let end = match (&step.finished_at, step.state.is_terminal()) {
        (Some(time), _) => time.0,
        (None, false) => now,
        (None, true) => return None,
    };
    Some(between(begun, end))
}

/// Time from one moment to another; none when a clock of the cluster is ahead of ours.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Two units of a time at most: `42s`, `3m10s`, `2h05m`, `13d4h`.
#[must_use]
pub fn span(time: Duration) -> String {
    let all = time.as_secs();
    match all {
        0..60 => format!("{all}s"),
        60..3600 => format!("{}m{:02}s", all / 60, all % 60),
        3600..86400 => format!("{}h{:02}m", all / 3600, all % 3600 / 60),
        _ => format!("{}d{}h", all / 86400, all % 86400 / 3600),
    }
}

/// A moment, and how far away it is.
#[must_use]
pub fn moment(at: Timestamp, now: Timestamp) -> String {
    let away =
        if at > now { format!("in {}", span(between(now, at))) } else { format!("{} ago", span(between(at, now))) };
    let at = at.round(Unit::Second).unwrap_or(at);
    format!("{} UTC ({away})", at.strftime("%Y-%m-%d %H:%M:%S"))
}

#[cfg(test)]
#[path = "samples.rs"]
pub(crate) mod samples;

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
