//! What becomes of an Environment while it is not known how to run what it should: nothing new begins, and nobody waits
//! for that without end.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{self, truncate, types},
    environment::{EnvironmentStatus, RolloutState, RolloutStatus},
};

use super::{MESSAGE_MAX, Plan, RETRY, Way, progress::told_of_failure, restore, status, world::World};

/// Why an Environment cannot go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt<'a> {
    /// Reason of its conditions.
    pub(super) reason: &'static str,
    /// For people, with the remedy.
    pub(super) why: &'a str,
}

/// Leaves what runs alone. A release whose rollout had begun has the time of a phase, from now on, to go on; then it fails,
/// or what ran before comes back, for which neither the registry nor a Secret is asked. One that had not begun, and whose
/// execution has given up, is not wanted any more.
pub(super) fn next(world: &World, mut status: EnvironmentStatus, doubt: Doubt<'_>) -> Plan {
    let told = conditions::get(&status.conditions, types::READY).is_some_and(|told| told.reason == doubt.reason);
    status::ready(world, &mut status, false, doubt.reason, doubt.why);
    let retry = world.now.saturating_add(RETRY).ok();
    let Some(target) = status.target.clone() else { return Plan::of(status, retry) };
    let Some(rollout) = &status.rollout else {
        let waits = status.lock.as_ref().is_some_and(|lock| lock.uid == target.uid);
        if waits {
            return Plan::of(status, retry);
        }
        status.target = None;
        return Plan::of(status, Some(world.now));
    };
    match rollout.state {
        // Either has just begun; of the latter somebody ended the pause.
        RolloutState::Progressing if !told => wait(world, status),
        RolloutState::Paused if target.pause_after.is_none() => wait(world, status),
        RolloutState::Progressing if world.now >= deadline(world, rollout) => fail(world, status, doubt),
        RolloutState::Progressing
        | RolloutState::Paused
        | RolloutState::Complete
        | RolloutState::Failed
        | RolloutState::RollingBack
        | RolloutState::RolledBack => Plan::of(status, retry),
    }
}

/// From now on the rollout is waited for.
fn wait(world: &World, mut status: EnvironmentStatus) -> Plan {
    if let Some(rollout) = &mut status.rollout {
        (rollout.state, rollout.since) = (RolloutState::Progressing, Time(world.now));
    }
    Plan::of(status, world.now.saturating_add(RETRY).ok())
}

fn deadline(world: &World, rollout: &RolloutStatus) -> Timestamp {
    let timeout = world.environment.spec.rollout.ready_timeout.signed();
    rollout.since.0.saturating_add(timeout).unwrap_or(rollout.since.0)
}

fn fail(world: &World, mut status: EnvironmentStatus, doubt: Doubt<'_>) -> Plan {
    let Some(rollout) = status.rollout.clone() else { return Plan::of(status, None) };
    let why = doubt.why;
    let cause = format!("does not go on within {}: {why}", world.environment.spec.rollout.ready_timeout);
    if let Ok(Some(before)) = restore::revisions(world, &status, &rollout.revision) {
        return restore::begin(world, status, &rollout.revision, None, before, &format!("{}: {cause}", rollout.phase));
    }
    let message = truncate(&told_of_failure(world, &status, &rollout.revision, &cause, Way::Forward), MESSAGE_MAX);
    status.rollout =
        Some(RolloutStatus { state: RolloutState::Failed, message, message_at: Some(Time(world.now)), ..rollout });
    Plan::of(status, world.now.saturating_add(RETRY).ok())
}
