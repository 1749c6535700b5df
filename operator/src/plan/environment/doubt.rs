//! What becomes of an Environment while it is not known how to run what it should, or the apiserver refuses it: nothing new
//! begins, and nobody waits for that without end.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{self, reasons, truncate, types},
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
        RolloutState::Progressing if world.now >= deadline(world, rollout) => {
            let timeout = world.environment.spec.rollout.ready_timeout;
            fail(world, status, &format!("does not go on within {timeout}: {}", doubt.why))
        }
        RolloutState::Progressing
        | RolloutState::Paused
        | RolloutState::Complete
        | RolloutState::Failed
        | RolloutState::RollingBack
        | RolloutState::RolledBack => Plan::of(status, retry),
    }
}

/// What becomes of a release whose changes the apiserver refuses, once its execution has given up: when there is room again,
/// days later, nobody waits for it. One that had not begun is not wanted any more; a rollout that had fails, or what ran before
/// comes back. None while somebody waits, or nothing is refused.
pub(super) fn given_up(world: &World, status: &EnvironmentStatus) -> Option<Plan> {
    let told = conditions::get(&status.conditions, types::READY);
    let why = told.filter(|told| told.reason == reasons::CHANGE_REFUSED)?.message.clone();
    let target = status.target.as_ref()?;
    if status.lock.as_ref().is_some_and(|lock| lock.uid == target.uid) {
        return None;
    }
    let mut status = status.clone();
    match status.rollout.as_ref().map(|rollout| rollout.state) {
        None => {
            status.target = None;
            Some(Plan::of(status, Some(world.now)))
        }
        Some(RolloutState::Progressing | RolloutState::Paused) => {
            let cause = format!("its execution has given up: the apiserver refuses what it needs: {why}");
            Some(fail(world, status, &cause))
        }
        Some(RolloutState::Complete | RolloutState::Failed | RolloutState::RollingBack | RolloutState::RolledBack) => {
            None
        }
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

fn fail(world: &World, mut status: EnvironmentStatus, cause: &str) -> Plan {
    let Some(rollout) = status.rollout.clone() else { return Plan::of(status, None) };
    if let Ok(Some(before)) = restore::revisions(world, &status, &rollout.revision) {
        return restore::begin(world, status, &rollout.revision, None, before, &format!("{}: {cause}", rollout.phase));
    }
    let message = truncate(&told_of_failure(world, &status, &rollout.revision, cause, Way::Forward), MESSAGE_MAX);
    status.rollout =
        Some(RolloutStatus { state: RolloutState::Failed, message, message_at: Some(Time(world.now)), ..rollout });
    Plan::of(status, world.now.saturating_add(RETRY).ok())
}
