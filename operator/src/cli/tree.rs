//! An execution as a tree of its steps: a pure drawing, so that it can be compared with texts in tests.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use launchway_crds::{
    Environment, PipelineExecution,
    environment::{RolloutState, RolloutStatus},
    execution::{PipelineExecutionStatus, Step, WaitingFor},
    pipeline::Debt,
    step::{StepName, StepState},
};

use super::{
    gate,
    heading::{TITLE, heading, titled},
    parity,
    request::ending,
    screen::{Size, height},
    times::{between, moment, span},
};
use crate::text::{brief, clip, one_line, wrap};

/// Cells of a rollout's bar.
const BAR: usize = 10;
/// Longer names are cut: messages need the room.
const ENVIRONMENT_MAX: usize = 20;
/// An operator that runs sees an execution within a second.
const UNSEEN: Duration = Duration::from_secs(30);

/// What an execution is shown with: its pipeline and Environments, as far as they can be read.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Environments by name: how far rollouts are.
    pub environments: BTreeMap<String, Environment>,
    /// Tests that the pipeline owes.
    pub debt: Vec<Debt>,
    /// The execution that brought what production runs now.
    pub there: Option<Box<PipelineExecution>>,
    /// The Environment where a release that was taken from another pipeline was tested.
    pub tested_on: Option<String>,
}

/// The room for a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Everything, in lines of so many characters.
    Whole(usize),
    /// What can be seen at once: metrics that pass are left out, and where the rows do not suffice the steps that have
    /// passed share one, and then those that are to come.
    Screen(Size),
}

/// Lines that show the execution at the moment `now`. Only commands and digests are ever longer than the room: they are
/// there to be copied.
#[must_use]
pub fn draw(execution: &PipelineExecution, around: &Around, now: Timestamp, room: Room) -> Vec<String> {
    let status = execution.status.clone().unwrap_or_default();
    let drawing = Drawing { execution, status: &status, around, now, room };
    let whole = drawing.lines(0, 0);
    let Room::Screen(size) = room else { return whole };
    // One row is the cursor's.
    let fits = |lines: &[String]| height(lines, size.columns) < size.rows;
    if fits(&whole) {
        return whole;
    }
    let passed = status.steps.iter().take_while(|step| step.state.lets_pass()).count();
    let folded = drawing.lines(passed, 0);
    if fits(&folded) {
        return folded;
    }
    let to_come = status.steps.iter().rev().take_while(|step| step.state == StepState::NotStarted).count();
    drawing.lines(passed, to_come)
}

struct Drawing<'a> {
    execution: &'a PipelineExecution,
    status: &'a PipelineExecutionStatus,
    around: &'a Around,
    now: Timestamp,
    room: Room,
}

/// Widths of the columns of steps: names and Environments. Times have seven characters.
struct Columns {
    names: usize,
    places: usize,
}

const TIME: usize = 7;

impl Drawing<'_> {
    fn width(&self) -> usize {
        match self.room {
            Room::Whole(width) => width,
            Room::Screen(size) => size.columns,
        }
    }

    /// All lines, with the first `passed` steps in one row and the last `to_come` in another.
    fn lines(&self, passed: usize, to_come: usize) -> Vec<String> {
        let (status, width, now) = (self.status, self.width(), self.now);
        let mut lines = heading(self.execution, status, &self.around.debt, now, width);
        if status.steps.is_empty() {
            lines.extend(unseen(self.execution, now));
            return lines;
        }
        let columns = self.columns();
        let (passed, rest) = status.steps.split_at(passed);
        let (shown, to_come) = rest.split_at(rest.len().saturating_sub(to_come));
        lines.extend(self.folded(passed, rest.is_empty(), &columns));
        for (number, step) in shown.iter().enumerate() {
            lines.extend(self.step(step, to_come.is_empty() && number + 1 == shown.len(), &columns));
        }
        lines.extend(self.folded(to_come, true, &columns));
        match (&status.waiting_for, ending(status)) {
            (_, Some(how)) => {
                lines.push(String::new());
                lines.extend(wrap(&how, width));
            }
            (Some(waiting), None) => {
                lines.push(String::new());
                lines.extend(waits(waiting, now, width));
                lines.extend(self.parity(width));
            }
            (None, None) => {}
        }
        lines
    }

    /// What differs between stage and production, while somebody is asked to let a release into production.
    fn parity(&self, width: usize) -> Vec<String> {
        // Who follows an execution looks at its steps: there is no room for more.
        let Room::Whole(_) = self.room else { return vec![] };
        let Some((stage, production)) = parity::at_the_gate(self.execution, self.around) else { return vec![] };
        let mut all = parity::differences(stage, production);
        all.extend(parity::packages(self.execution, self.around.there.as_deref()));
        let title = |number: usize| if number == 0 { "differs" } else { "" };
        all.iter().enumerate().flat_map(|(number, line)| titled(title(number), line, width)).collect()
    }

    fn columns(&self) -> Columns {
        let steps = &self.status.steps;
        let names = steps.iter().map(|step| step.name.as_str().len()).max().unwrap_or_default();
        let places = steps.iter().filter_map(|step| step.environment.as_ref()).map(|name| name.chars().count());
        let places = places.max().unwrap_or_default().min(ENVIRONMENT_MAX);
        // A narrow terminal has no room for Environments: times say more.
        let fits = 5 + names + 2 + places + 2 + TIME <= self.width();
        Columns { names, places: if fits { places } else { 0 } }
    }

    /// Steps of one kind in one row; one alone is as short as what would stand for it.
    fn folded(&self, steps: &[Step], last: bool, columns: &Columns) -> Vec<String> {
        let (first, end) = match steps {
            [] => return vec![],
            [one] => return self.step(one, last, columns),
            [first, .., end] => (first, end),
        };
        let branch = if last { "└─" } else { "├─" };
        let sign = sign(if first.state.lets_pass() { StepState::Finished } else { first.state });
        let time = steps.iter().filter_map(|step| taken(step, self.now)).reduce(|sum, time| sum + time);
        let row = row(branch, sign, &format!("{} steps", steps.len()), "", time, columns);
        vec![clip(&format!("{row}  {} … {}", first.name.as_str(), end.name.as_str()), self.width())]
    }

    /// A step, and below it what went wrong, its metrics and its rollout.
    fn step(&self, step: &Step, last: bool, columns: &Columns) -> Vec<String> {
        let (branch, below) = if last { ("└─", "  ") } else { ("├─", "│ ") };
        let (width, now) = (self.width(), self.now);
        let place = step.environment.as_deref().unwrap_or_default();
        let row = row(branch, sign(step.state), step.name.as_str(), place, taken(step, now), columns);
        let note = brief(&note(step));
        let room = width.saturating_sub(row.chars().count() + 2);
        let mut lines = vec![];
        // What went wrong is shown whole, below; what went well may be cut.
        if !fails(step.state) || note.chars().count() <= room {
            lines.push(clip(format!("{row}  {note}").trim_end(), width));
        } else {
            lines.push(row);
            lines.extend(wrap(&note, width.saturating_sub(6)).into_iter().map(|line| format!("{below}    {line}")));
        }
        let all = matches!(self.room, Room::Whole(_));
        let metrics = step.metrics.iter().filter(|metric| all || !metric.passed);
        let metrics = gate::below(metrics, step, &self.status.overrides, width.saturating_sub(6));
        lines.extend(metrics.into_iter().map(|line| format!("{below}    {line}")));
        if let Some(rollout) = rollout(self.execution, step, &self.around.environments) {
            lines.push(clip(&format!("{below}    {}", progress(rollout, now)), width));
        }
        lines
    }
}

fn row(
    branch: &str,
    sign: char,
    name: &str,
    place: &str,
    time: Option<Duration>,
    Columns { names, places }: &Columns,
) -> String {
    let time = time.map(span).unwrap_or_default();
    let place = if *places == 0 { String::new() } else { format!("  {:places$}", clip(place, *places)) };
    format!("{branch} {sign} {name:names$}{place}  {time:>TIME$}")
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
    let mut lines: Vec<String> = titled("waits for", &brief(&one_line(&waiting.why)), width).collect();
    lines.extend(titled("since", &moment(waiting.since.0, now), width));
    if let Some(until) = &waiting.until {
        lines.extend(titled("until", &moment(until.0, now), width));
    }
    if let Some(who) = &waiting.who {
        lines.extend(titled("who", &one_line(who), width));
    }
    if let Some(command) = &waiting.command {
        lines.push(format!("{:TITLE$}{}", "command", one_line(command)));
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
    let deploys = matches!(step.name, StepName::Deploy | StepName::DeployStage | StepName::DeployProduction);
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
    if matches!(rollout.state, RolloutState::Progressing | RolloutState::RollingBack) {
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
        StepState::RollingBack => '◁',
        StepState::RolledBack => '↶',
    }
}

const fn fails(state: StepState) -> bool {
    matches!(
        state,
        StepState::Failed | StepState::Error | StepState::Cancelled | StepState::RollingBack | StepState::RolledBack
    )
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

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
