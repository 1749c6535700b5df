//! What the apiserver does not take of an execution, by a quota, an admission policy, or a right that the operator lost: the
//! step says so, tries again, and gives up in the end. And a Job that it takes, whose pod it refuses.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    common::Span,
    conditions::reasons,
    execution::WaitingFor,
    names::child_name,
    step::{StepName, StepState},
};

use crate::text::says_the_same;

use super::{
    Plan, Verdict,
    action::Action,
    identity,
    requested::Clock,
    status, step_of,
    world::{Denied, World},
};

/// How long somebody has to make room. The Environments of the execution are locked meanwhile.
const PATIENCE: Span = Span::from_secs(3600);
/// Shortest pause between two tries, for quotas that other Jobs give back as they go.
const SOON: SignedDuration = SignedDuration::from_secs(5);
/// Longest pause between two tries.
const LATE: SignedDuration = SignedDuration::from_mins(1);

/// How long the pod of a Job may take to be there before that is told.
const POD: SignedDuration = SignedDuration::from_secs(15);

/// Waits until the apiserver takes the Job of a step; `why` is what it said last.
pub(super) fn told(world: &World, step: StepName, why: &str) -> Verdict {
    let (execution, _, _) = identity(world);
    let job = format!("Job {}", child_name(execution, step.dashed()));
    waits(world, step, reasons::JOB_REFUSED, &job, why, true)
}

/// The version of the pipeline cannot be kept: nothing is begun.
pub(super) fn of_revision(world: &World, step: StepName) -> Option<Verdict> {
    Some(of_action(world, step, unkept(world)?))
}

/// The refusal to keep the version of the pipeline, if that has just been refused.
pub(super) fn unkept(world: &World) -> Option<&Denied> {
    world.denied.as_ref().filter(|denied| matches!(denied.action, Action::KeepRevision { .. }))
}

/// The verdict, unless the apiserver has just refused an action of it: then the wait for that.
pub(super) fn instead(world: &World, step: StepName, verdict: Verdict) -> Verdict {
    let Some(denied) = &world.denied else { return verdict };
    match &verdict {
        Verdict::Running { actions, .. } | Verdict::Waiting { actions, .. } | Verdict::Ended { actions, .. }
            if actions.contains(&denied.action) =>
        {
            of_action(world, step, denied)
        }
        _ => verdict,
    }
}

/// The plan, unless the Pipeline has just refused the record of an end: then the execution has not ended, and its last step
/// waits. Without a record it could be run again under its name.
pub(super) fn unremembered(world: &World, plan: Plan) -> Plan {
    let refused = world.denied.as_ref().filter(|denied| matches!(denied.action, Action::Remember { .. }));
    let Some(denied) = refused.filter(|denied| plan.actions.contains(&denied.action)) else { return plan };
    let mut status = status::begun(world, world.execution.status.clone().unwrap_or_default());
    let Some(index) = status.steps.iter().position(|step| !step.state.is_terminal()) else { return plan };
    let step = status.steps[index].name;
    let Verdict::Waiting { reason, waiting, wake, .. } = of_action(world, step, denied) else { return plan };
    status::wait(&mut status, index, world.now, reason, *waiting, false);
    status::settle(world, status, Some(step), vec![], wake, false)
}

fn of_action(world: &World, step: StepName, Denied { action, why }: &Denied) -> Verdict {
    let environment = |name: &String| format!("the status of Environment {name}");
    // Nothing has begun by these: the execution can end without.
    let (what, ends) = match action {
        Action::KeepRevision { revision, .. } => (format!("ControllerRevision {}", revision.name), true),
        Action::Lock { environment: name } | Action::SetTarget { environment: name, .. } => (environment(name), true),
        Action::Unlock { environment: name }
        | Action::Resume { environment: name }
        | Action::Stop { environment: name, .. } => (environment(name), false),
        Action::CreateJob { step, .. } => return told(world, *step, why),
        Action::DeleteJob { name, .. } => (format!("the deletion of Job {name}"), false),
        Action::Remember { pipeline, .. } => (format!("the status of Pipeline {pipeline}"), false),
    };
    waits(world, step, reasons::CHANGE_REFUSED, &what, why, ends)
}

/// Waits until the apiserver takes something, and ends the step if it does not in time, where that does no harm.
fn waits(world: &World, step: StepName, reason: &'static str, what: &str, why: &str, ends: bool) -> Verdict {
    let (_, namespace, _) = identity(world);
    let before = written(world, step, reason);
    // It began with the first refusal of the wait that the execution has written down.
    let clock = Clock::since(before.map_or(Time(world.now), |waits| waits.since.clone()), PATIENCE);
    // The remedy comes first: the words of an apiserver may be longer than a message.
    let refused = format!(
        "make room in the quota, or except {what} in the policy that forbids it, for the apiserver refuses it: {why}"
    );
    if ends && world.now >= clock.until {
        return Verdict::error(reason, format!("not done within {PATIENCE}; {refused}; then run the pipeline again"));
    }
    let same = before.map(|waits| waits.why.clone()).filter(|before| says_the_same(before, &refused));
    // As long again as it has waited: soon at first, ever less often later.
    let pause = world.now.duration_since(clock.since.0).clamp(SOON, LATE);
    Verdict::Waiting {
        reason,
        warn: ends.then(|| clock.warn()),
        waiting: Box::new(WaitingFor {
            step,
            why: same.unwrap_or(refused),
            since: clock.since,
            until: ends.then_some(Time(clock.until)),
            expiring_since: None,
            who: Some(format!("whoever administers namespace {namespace}")),
            command: Some(format!("kubectl describe resourcequotas,limitranges --namespace {namespace}")),
        }),
        wake: world.now.saturating_add(pause).ok(),
        actions: vec![],
    }
}

/// The wait of this step for what was refused, if the execution has written it down.
fn written<'a>(world: &'a World, step: StepName, reason: &str) -> Option<&'a WaitingFor> {
    let status = world.execution.status.as_ref()?;
    let refused = step_of(status, step)
        .is_some_and(|step| step.state == StepState::Waiting && step.reason.as_deref() == Some(reason));
    status.waiting_for.as_ref().filter(|_| refused)
}

/// What is told of a Job that has no pod, once that has lasted; until then, when to look again. The apiserver takes a Job
/// whose pod it refuses afterwards, and that refusal is only in the Events of the Job.
pub(super) fn of_pod(world: &World, job: &str, since: Timestamp) -> (Option<String>, Option<Timestamp>) {
    let due = since.saturating_add(POD).unwrap_or(since);
    if world.now < due {
        return (None, Some(due));
    }
    let (_, namespace, _) = identity(world);
    (Some(without_pod(job, namespace)), None)
}

/// What is told of a Job that never had a pod.
pub fn without_pod(job: &str, namespace: &str) -> String {
    format!(
        "it has no pod, which a quota, a limit range or Pod Security may refuse: kubectl describe job {job} --namespace \
         {namespace} says why"
    )
}
