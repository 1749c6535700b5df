//! A Job that the apiserver does not take, by a quota, an admission policy, or a right that the operator lost: the step
//! says so, tries again, and gives up in the end. And one that it takes, whose pod it refuses.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    common::Span,
    conditions::reasons,
    execution::WaitingFor,
    names::child_name,
    step::{StepName, StepState},
};

use super::{Verdict, identity, requested::Clock, step_of, world::World};

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
    let (execution, namespace, _) = identity(world);
    let name = child_name(execution, step.dashed());
    let clock = clock(world, step);
    // The remedy comes first: the words of an apiserver may be longer than a message.
    let refused = format!(
        "make room in the quota, or except Job {name} in the policy that forbids it, for the apiserver refuses it: {why}"
    );
    if world.now >= clock.until {
        let given_up = format!("not created within {PATIENCE}; {refused}; then run the pipeline again");
        return Verdict::error(reasons::JOB_REFUSED, given_up);
    }
    let refused = told_before(world, step).filter(|before| says_the_same(before, &refused)).unwrap_or(refused);
    // As long again as it has waited: soon at first, ever less often later.
    let pause = world.now.duration_since(clock.since.0).clamp(SOON, LATE);
    Verdict::Waiting {
        reason: reasons::JOB_REFUSED,
        warn: Some(clock.warn()),
        waiting: Box::new(WaitingFor {
            step,
            why: refused,
            since: clock.since,
            until: Some(Time(clock.until)),
            expiring_since: None,
            who: Some(format!("whoever administers namespace {namespace}")),
            command: Some(format!("kubectl describe resourcequotas,limitranges --namespace {namespace}")),
        }),
        wake: world.now.saturating_add(pause).ok(),
        actions: vec![],
    }
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

/// It began with the first refusal of the wait that the execution has written down.
fn clock(world: &World, step: StepName) -> Clock {
    let since = written(world, step).map(|waits| waits.since.clone());
    Clock::since(since.unwrap_or(Time(world.now)), PATIENCE)
}

fn told_before(world: &World, step: StepName) -> Option<String> {
    written(world, step).map(|waits| waits.why.clone())
}

/// The wait for the Job of this step, if the execution has written it down.
fn written(world: &World, step: StepName) -> Option<&WaitingFor> {
    let status = world.execution.status.as_ref()?;
    let refused = step_of(status, step)
        .is_some_and(|step| step.state == StepState::Waiting && step.reason.as_deref() == Some(reasons::JOB_REFUSED));
    status.waiting_for.as_ref().filter(|_| refused)
}

/// Whether two refusals differ in numbers alone: what a quota has used by now, the time, or the ID of a request, which
/// policies like to name. Each write of status wakes the execution: with new words at every try, the next one came at once.
fn says_the_same(before: &str, now: &str) -> bool {
    /// So many are never cut off, and tell one refusal from another.
    const WORDS: usize = 64;
    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split_whitespace().filter(|word| !word.contains(|letter: char| letter.is_ascii_digit())).take(WORDS)
    }
    words(before).eq(words(now))
}
