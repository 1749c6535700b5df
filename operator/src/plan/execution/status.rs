//! How decisions become status: steps, conditions, and what an execution waits for.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{self, reasons, truncate, types},
    execution::{Child, Mode, PipelineExecutionStatus, Step, WaitingFor},
    step::{StepName, StepState},
};

use crate::text::printable;

use super::{
    Plan,
    action::Action,
    left_out, refusal, revision, route, source,
    world::{Kept, World},
};

/// Longest message of a step.
const MESSAGE_MAX: usize = 1024;

/// A status in which every step is present.
///
/// Until the pipeline exists, and what it says is kept, nobody knows the steps: then there is only the first.
pub(super) fn begun(world: &World, mut status: PipelineExecutionStatus) -> PipelineExecutionStatus {
    status.start_time.get_or_insert(Time(world.now));
    let asked = &world.execution.spec;
    match world.pipeline.as_ref().filter(|_| refusal::unkept(world).is_none()) {
        Some(pipeline) if status.environments.is_none() => {
            let environments = route::environments(&pipeline.spec, asked);
            let taken = source::taken(world).and_then(Result::ok).map(|(_, entry)| entry);
            let known = status.steps.first().filter(|step| step.name == StepName::Validate).cloned();
            status.steps = route::steps(&pipeline.spec, asked, taken.as_ref())
                .into_iter()
                .map(|name| Step::new(name, route::place(name, &environments)))
                .collect();
            if let (Some(first), Some(known)) = (status.steps.first_mut(), known) {
                *first = known;
            }
            status.environments = Some(environments);
            status.pipeline_revision = world.revision.wanted.clone().filter(|_| world.revision.kept == Kept::Whole);
            status.trigger = route::trigger(asked);
        }
        None if status.steps.is_empty() => status.steps = vec![Step::new(StepName::Validate, None)],
        Some(_) | None => {}
    }
    status
}

/// Marks a step as working.
pub(super) fn run(step: &mut Step, now: Timestamp, message: &str, child: Option<Child>, deadline: Option<Timestamp>) {
    step.state = StepState::Running;
    step.started_at.get_or_insert(Time(now));
    step.reason = Some(reasons::RUNNING.into());
    step.message = Some(text(message)).filter(|text| !text.is_empty());
    if child.is_some() {
        step.child = child;
    }
    if let Some(deadline) = deadline {
        step.deadline = Some(Time(deadline));
    }
}

/// Marks a step as being taken back.
pub(super) fn roll_back(step: &mut Step, now: Timestamp, message: &str) {
    run(step, now, message, None, None);
    step.state = StepState::RollingBack;
    step.reason = Some(reasons::ROLLING_BACK.into());
}

/// Marks a step as waiting.
pub(super) fn wait(
    status: &mut PipelineExecutionStatus,
    index: usize,
    now: Timestamp,
    reason: &'static str,
    mut waiting: WaitingFor,
    expiring: bool,
) {
    let step = &mut status.steps[index];
    step.state = StepState::Waiting;
    step.started_at.get_or_insert(Time(now));
    step.reason = Some(reason.into());
    waiting.why = text(&waiting.why);
    step.message = Some(waiting.why.clone());
    step.deadline = waiting.until.clone();
    if expiring {
        let old = status.waiting_for.as_ref().filter(|old| old.step == waiting.step);
        waiting.expiring_since = old.and_then(|old| old.expiring_since.clone()).or(Some(Time(now)));
    }
    // "Since" is when it began to wait for this, however often it is looked at.
    if let Some(old) = &status.waiting_for
        && old.step == waiting.step
        && old.why == waiting.why
    {
        waiting.since = old.since.clone();
    }
    status.waiting_for = Some(waiting);
}

/// Marks a step as over.
pub(super) fn end(step: &mut Step, now: Timestamp, state: StepState, reason: &str, message: &str) {
    step.state = state;
    step.started_at.get_or_insert(Time(now));
    step.finished_at = Some(Time(now));
    step.deadline = None;
    step.reason = Some(truncate(reason, 64));
    step.message = Some(text(message)).filter(|text| !text.is_empty());
}

/// What status keeps of a text. What JSON would write as `\u0000` is left out: the bound of status counts on it.
fn text(message: &str) -> String {
    truncate(&printable(message), MESSAGE_MAX)
}

/// A plan for an execution that goes on.
pub(super) fn settle(
    world: &World,
    mut status: PipelineExecutionStatus,
    step: Option<StepName>,
    actions: Vec<Action>,
    wake: Option<Timestamp>,
    again: bool,
) -> Plan {
    let current = step.and_then(|name| status.steps.iter().find(|step| step.name == name)).cloned();
    let waits = current.as_ref().is_some_and(|step| step.state == StepState::Waiting);
    if !waits {
        status.waiting_for = None;
    }
    status.step = step;
    let (reason, message) = current.as_ref().map_or((reasons::RUNNING, String::new()), |step| {
        let text = step.message.clone().unwrap_or_default();
        (if waits { reasons::WAITING } else { reasons::RUNNING }, format!("{}: {text}", step.name.as_str()))
    });
    status.state = reason.into();
    let stalled = current.as_ref().and_then(|step| step.reason.clone()).filter(|reason| needs_a_person(reason));
    let generation = world.execution.metadata.generation;
    let now = Time(world.now);
    status.observed_generation = generation.unwrap_or_default();
    emergency(world, &mut status, &now);
    let all = &mut status.conditions;
    conditions::set_status(all, &now, generation, types::SUCCEEDED, "Unknown", reason, &message);
    let waiting_reason = current.as_ref().and_then(|step| step.reason.clone()).filter(|_| waits);
    conditions::set(
        all,
        &now,
        generation,
        types::WAITING,
        waits,
        waiting_reason.as_deref().unwrap_or(reasons::RUNNING),
        &message,
    );
    conditions::set(all, &now, generation, types::RECONCILING, !waits, reason, &message);
    revision::told(world, all, &now);
    conditions::set(
        all,
        &now,
        generation,
        types::STALLED,
        stalled.is_some(),
        stalled.as_deref().unwrap_or(reason),
        &message,
    );
    Plan { actions, status, again, wake, look: None }
}

/// Says of an execution in an emergency why, and which of its steps are left out; any other has no such condition.
fn emergency(world: &World, status: &mut PipelineExecutionStatus, now: &Time) {
    let asked = &world.execution.spec;
    let told = conditions::get(&status.conditions, types::EMERGENCY).is_some();
    // What is left out is the pipeline's word, which is not taken back when that is deleted.
    if asked.mode != Mode::Emergency || (told && world.pipeline.is_none()) {
        return;
    }
    let steps = status.steps.iter().map(|step| step.name).filter(|step| left_out(world, *step));
    let steps: Vec<&str> = steps.map(StepName::as_str).collect();
    let reason = asked.reason.as_deref().unwrap_or_default();
    let why = if steps.is_empty() { reason.to_owned() } else { format!("leaves out {}: {reason}", steps.join(", ")) };
    let (all, generation) = (&mut status.conditions, world.execution.metadata.generation);
    conditions::set(all, now, generation, types::EMERGENCY, true, reasons::EMERGENCY, &text(&why));
}

/// Reasons to wait that only a person who administers the cluster can end.
fn needs_a_person(reason: &str) -> bool {
    [
        reasons::APPROVAL_GUARD_MISSING,
        reasons::APPROVAL_MALFORMED,
        reasons::REQUEST_MALFORMED,
        reasons::JOB_REFUSED,
        reasons::CHANGE_REFUSED,
    ]
    .contains(&reason)
}

/// The status of an execution that ended.
pub(super) fn over(
    world: &World,
    status: &mut PipelineExecutionStatus,
    step: StepName,
    succeeded: bool,
    reason: &str,
    message: &str,
) {
    let now = Time(world.now);
    let generation = world.execution.metadata.generation;
    status.observed_generation = generation.unwrap_or_default();
    status.waiting_for = None;
    status.completion_time = Some(now.clone());
    status.state = truncate(reason, 64);
    status.step = Some(step);
    emergency(world, status, &now);
    let all = &mut status.conditions;
    conditions::set(all, &now, generation, types::SUCCEEDED, succeeded, reason, message);
    conditions::set(all, &now, generation, types::WAITING, false, reason, "");
    conditions::set(all, &now, generation, types::RECONCILING, false, reason, "");
    conditions::set(all, &now, generation, types::STALLED, false, reason, "");
}
