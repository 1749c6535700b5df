//! A rollout that goes on, and how it fails: what it waits for, since when, and until when.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{reasons, truncate},
    environment::{EnvironmentStatus, RolloutState, RolloutStatus, Tier},
};

use super::{
    Change, MESSAGE_MAX, Move, Plan, START, Way, restore, rolls_nothing, status, watch,
    world::{DesiredRelease, Pod, World},
};

/// How long a wait is told of in the same words while something is wrong with a pod; and how long a pod that only starts
/// says the same before that is told. A start that goes on says something else every few seconds, and most are over before
/// anybody reads of it; one that does not is named within half a minute of the kubelet's knowing.
const PATIENCE: SignedDuration = SignedDuration::from_secs(20);
/// How long a wait is told of in the same words while pods start and go on.
const START_PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// How often pods that a rollout waits for are asked what they lack.
const LOOK: SignedDuration = SignedDuration::from_secs(20);

/// What status tells of a move that is not the last one, and whether the rollout fails here.
pub(super) fn progress(
    world: &World,
    mut status: EnvironmentStatus,
    desired: &DesiredRelease,
    taken: Move,
    way: Way,
) -> Plan {
    let spec = &world.environment.spec;
    let pairs = spec.publish.replicas;
    // On the way back status goes on to name what failed.
    let revision = match (way, &status.restore) {
        (Way::Back, Some(restore)) => restore.failed.clone(),
        (Way::Back, None) | (Way::Forward, _) => desired.revision().to_owned(),
    };
    let old = status.rollout.take().filter(|old| old.revision == revision);
    let over = old.as_ref().is_some_and(|old| old.state == RolloutState::RolledBack);
    let going = match way {
        Way::Back if over => RolloutState::RolledBack,
        Way::Back => RolloutState::RollingBack,
        Way::Forward if taken.paused => RolloutState::Paused,
        Way::Forward => RolloutState::Progressing,
    };
    let since = match &old {
        Some(old) if old.phase == taken.phase && old.state == going => old.since.clone(),
        _ => Time(world.now),
    };
    let deadline = since.0.saturating_add(spec.rollout.ready_timeout.signed()).unwrap_or(since.0);
    // Half-way a rollout stops waiting for a pair that is away; at the deadline it fails.
    let half = since.0.saturating_add(watch::half_way(&spec.rollout, &taken.phase)).unwrap_or(since.0);
    // Nobody asked for a release: pods died and come back, or pairs are added. That may take as long as it takes.
    let resting = match way {
        Way::Back => over,
        Way::Forward => status.target.is_none() && rolls_nothing(world, desired) && taken.phase != START,
    };
    // A pod that dies while a person is waited for comes back, or that person stops the rollout.
    let failure = failure(world, desired, &taken, deadline).filter(|_| !resting && !taken.paused);
    let watch = taken.watch.clone().or_else(|| old.as_ref()?.watch.clone());
    if let (Some(cause), Way::Forward) = (&failure, way)
        && let Ok(Some(before)) = restore::revisions(world, &status, desired.revision())
    {
        let (release, cause) = (desired.content.release(), format!("{}: {cause}", taken.phase));
        // What was seen stays on record, whatever comes back.
        status.rollout = old.map(|old| RolloutStatus { watch, ..old });
        return restore::begin(world, status, desired.revision(), release, before, &cause);
    }
    let resized = taken.changes.iter().find_map(|change| match change {
        Change::Workload { tier: Tier::Publish, replicas, .. } => Some(*replicas),
        _ => None,
    });
    // So it will be when this status is written: told now, it is not written once more.
    if let Some(exist) = resized.or_else(|| world.publish.as_ref().map(|publish| publish.replicas)) {
        status::paired(world, &mut status, exist, !resting);
    }
    status.ready_replicas = status::serving(world, &taken.changes, &desired.revisions);
    let updated = (0..pairs).filter(|ordinal| world.pair_is_ready(*ordinal, &desired.revisions)).count();
    let updated = i32::try_from(updated).unwrap_or(pairs);
    let state = if failure.is_some() { RolloutState::Failed } else { going };
    let (message, at) = match failure {
        Some(cause) => (told_of_failure(world, &status, desired.revision(), &cause, way), Time(world.now)),
        None => steadied(world, desired, old.as_ref(), &taken, updated),
    };
    // Words that are held back are told when their time has come.
    let held_back = (message != taken.message).then(|| kept_until(world, desired, &taken, &message, at.0));
    let message = truncate(&message, MESSAGE_MAX);
    status::ready(world, &mut status, false, reason(state, resting), &format!("{}: {message}", taken.phase));
    status.rollout = Some(RolloutStatus {
        state,
        phase: taken.phase,
        since,
        revision,
        updated,
        total: pairs,
        message,
        message_at: Some(at),
        watch,
    });
    let wake = if world.now < half { half } else { deadline };
    // A package that failed changes nothing that is watched: pods that are waited for are asked.
    let look = world.now.saturating_add(LOOK).unwrap_or(wake);
    let soonest = [wake, look].into_iter().chain(held_back).chain(taken.until).min();
    let moves = matches!(state, RolloutState::Progressing | RolloutState::RollingBack) && !resting;
    Plan { changes: taken.changes, ..Plan::of(status, moves.then_some(soonest).flatten()) }
}

const fn reason(state: RolloutState, resting: bool) -> &'static str {
    match state {
        RolloutState::Failed => reasons::ROLLOUT_FAILED,
        RolloutState::Paused => reasons::PAUSED,
        RolloutState::RollingBack => reasons::ROLLING_BACK,
        RolloutState::Progressing | RolloutState::Complete | RolloutState::RolledBack if resting => reasons::DEGRADED,
        RolloutState::Progressing | RolloutState::Complete | RolloutState::RolledBack => reasons::ROLLING_OUT,
    }
}

/// Why a rollout that waits fails now: what the metric guard saw, a pod that cannot become ready, or the end of its time.
/// With the name of the pod, what it lacks, and the end of its log.
fn failure(world: &World, desired: &DesiredRelease, taken: &Move, deadline: Timestamp) -> Option<String> {
    if !taken.changes.is_empty() || taken.unasked {
        return None;
    }
    if let Some(why) = &taken.failure {
        return Some(why.clone());
    }
    let new = |pod: &&Pod| pod.revision == desired.revisions.of(pod.tier) && !pod.terminating;
    if let Some(pod) = world.pods.iter().filter(new).find(|pod| pod.hopeless) {
        let problem = pod.problem.as_deref().unwrap_or("a package failed to install");
        return Some(with_log(&format!("{}: {problem}", named(world, pod)), world, Some(pod)));
    }
    if world.now < deadline {
        return None;
    }
    let told = format!("not ready within {}: {}", world.environment.spec.rollout.ready_timeout, taken.message);
    Some(with_log(&told, world, world.pods.iter().filter(new).find(|pod| !pod.ready && pod.log.is_some())))
}

/// What a pod lacks, in the words in which a move that waits for it says so.
pub(super) fn lacks(world: &World, pod: &Pod) -> String {
    format!("{} {}", named(world, pod), pod.problem.as_deref().unwrap_or("starts"))
}

fn named(world: &World, pod: &Pod) -> String {
    format!("{}-{}-{}", world.name(), pod.tier.as_str(), pod.ordinal)
}

/// A cause, and the end of a pod's log behind it: the cause is what is cut when both are too long.
fn with_log(cause: &str, world: &World, pod: Option<&Pod>) -> String {
    let Some((pod, log)) = pod.and_then(|pod| Some((pod, pod.log.as_ref()?))) else {
        return truncate(cause, MESSAGE_MAX);
    };
    let tail = format!("; the log of {} ends: {log}", named(world, pod));
    let room = MESSAGE_MAX.saturating_sub(tail.len()).max(MESSAGE_MAX / 4);
    truncate(&format!("{}{tail}", truncate(cause, room)), MESSAGE_MAX)
}

/// What is told of a failure that stops a rollout where it is.
pub(super) fn told_of_failure(
    world: &World,
    status: &EnvironmentStatus,
    failed: &str,
    cause: &str,
    way: Way,
) -> String {
    match (way, &status.restore) {
        (Way::Back, Some(restore)) => {
            let cause = truncate(cause, MESSAGE_MAX / 2);
            format!("what ran before does not come back: {cause}; it was to, because {}", restore.cause)
        }
        (Way::Back, None) | (Way::Forward, _) => match restore::revisions(world, status, failed) {
            Err(why) => format!("{}; not restored: {why}", truncate(cause, MESSAGE_MAX - 200)),
            Ok(_) => cause.to_owned(),
        },
    }
}

/// Until when it is told of a move in words that were told first at a time: what is wrong is told soon.
fn kept_until(world: &World, desired: &DesiredRelease, taken: &Move, told: &str, at: Timestamp) -> Timestamp {
    let after = |since: Timestamp, patience| since.saturating_add(patience).unwrap_or(since);
    if world.pods.iter().any(|pod| pod.troubled && !pod.terminating) {
        return after(at, PATIENCE);
    }
    let untold = world.pods.iter().filter(|pod| {
        let lacks = lacks(world, pod);
        taken.message.contains(&lacks) && !told.contains(&lacks)
    });
    let stuck = untold.filter_map(|pod| stuck_since(world, desired, pod)).map(|since| after(since, PATIENCE));
    stuck.chain([after(at, START_PATIENCE)]).min().unwrap_or(at)
}

/// Since when a pod of what is wanted says the same of its start: none when it is ready, or waits for another pod.
fn stuck_since(world: &World, desired: &DesiredRelease, pod: &Pod) -> Option<Timestamp> {
    if pod.ready || pod.terminating || pod.revision != desired.revisions.of(pod.tier) {
        return None;
    }
    if pod.tier != Tier::Dispatcher {
        return Some(pod.since);
    }
    // It says all the time that it waits for the publish of its pair.
    let own = |other: &&Pod| other.tier == Tier::Publish && other.ordinal == pod.ordinal && other.ready;
    world.pods.iter().find(own).map(|publish| publish.since.max(pod.since))
}

/// What a rollout waits for and since when that is told: what pods say changes every few seconds while they start, and
/// would be written as often.
fn steadied(
    world: &World,
    desired: &DesiredRelease,
    old: Option<&RolloutStatus>,
    taken: &Move,
    updated: i32,
) -> (String, Time) {
    let told = old.filter(|old| old.phase == taken.phase && old.updated == updated).and_then(|old| {
        let at = old.message_at.clone()?;
        let young = world.now < kept_until(world, desired, taken, &old.message, at.0);
        (young || old.message == taken.message).then(|| (old.message.clone(), at))
    });
    told.unwrap_or_else(|| (taken.message.clone(), Time(world.now)))
}
