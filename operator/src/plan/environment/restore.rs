//! The way back: a rollout failed, and what ran before comes back by the same machine.
//!
//! What comes back are the templates that the cluster kept, word for word, and not the release rendered again: neither
//! the registry nor the Secrets of today are asked. It is tried once for a rollout; if it fails, too, it is held.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{reasons, truncate},
    digest::ImageRef,
    environment::{EnvironmentStatus, RolloutState, RolloutStatus, Strategy},
    restore::{OlderReleases, OnFailure, Restore},
};

use super::{
    MESSAGE_MAX, Plan, Way, all_at_once, configuration,
    progress::progress,
    rolling, status, steady, strategy, unneeded_services,
    world::{Content, Desired, DesiredRelease, Revisions, World},
};

/// The templates that come back after a rollout that failed: none when nothing is to come back.
///
/// # Errors
/// Why nothing can come back, although the Environment asks for it.
pub(super) fn revisions(world: &World, status: &EnvironmentStatus, failed: &str) -> Result<Option<Revisions>, String> {
    let spec = &world.environment.spec;
    match spec.rollout.on_failure {
        OnFailure::Hold => return Ok(None),
        OnFailure::Restore => {}
    }
    let storage = spec.author.storage.as_ref().map(|storage| storage.older_releases);
    if storage == Some(OlderReleases::Refuse) {
        return Err(
            "the author keeps its repository on a volume, which does not go back: deploy a corrected release".into()
        );
    }
    let before = status.deployed.as_ref().and_then(|deployed| deployed.revisions.clone());
    let Some(revisions) = before.filter(|revisions| revisions.dispatcher != failed) else {
        return Err("nothing was deployed here before: deploy a corrected release".into());
    };
    if !world.keeps(&revisions) {
        return Err(format!(
            "the cluster does not keep the templates of {} any more: deploy a corrected release",
            revisions.dispatcher
        ));
    }
    if is_unread(status) {
        return Err("the execution of the last way back has not ended".into());
    }
    Ok(Some(revisions))
}

/// Whether the execution whose release went back may not have learnt of it: the record stays until it has ended, or it
/// would deploy the same release once more.
pub(super) fn is_unread(status: &EnvironmentStatus) -> bool {
    let Some(uid) = status.restore.as_ref().and_then(|restore| restore.uid.as_ref()) else { return false };
    let runs = status.lock.as_ref().is_some_and(|lock| &lock.uid == uid);
    let aims = status.target.as_ref().is_some_and(|target| &target.uid == uid);
    let arrived = status.deployed.as_ref().is_some_and(|deployed| {
        [deployed.aem_origin(), deployed.dispatcher_origin()].iter().any(|origin| &origin.uid == uid)
    });
    runs && !aims && !arrived
}

/// Whether the way back from this revision was tried already.
pub(super) fn was_tried(status: &EnvironmentStatus, failed: &str) -> bool {
    status.restore.as_ref().is_some_and(|restore| restore.failed == failed)
}

/// Begins the way back from a revision, and from the release that it was of where no execution asked for one. The failure
/// is never told without it: whoever reads of one reads of the other.
pub(super) fn begin(
    world: &World,
    mut status: EnvironmentStatus,
    failed: &str,
    release: Option<&ImageRef>,
    revisions: Revisions,
    cause: &str,
) -> Plan {
    let now = Time(world.now);
    let watch = status.rollout.as_ref().and_then(|rollout| rollout.watch.clone());
    let target = status.target.as_ref();
    let cause = truncate(cause, MESSAGE_MAX);
    status.restore = Some(Restore {
        execution: target.map(|target| target.execution.clone()),
        uid: target.map(|target| target.uid.clone()),
        release: target.map(|target| target.release.clone()).or_else(|| release.cloned()),
        failed: failed.into(),
        revisions,
        cause: cause.clone(),
        since: now.clone(),
    });
    status.rollout = Some(RolloutStatus {
        state: RolloutState::RollingBack,
        phase: "Restore".into(),
        since: now.clone(),
        revision: failed.into(),
        updated: 0,
        total: world.environment.spec.publish.replicas,
        message: cause.clone(),
        message_at: Some(now),
        watch,
    });
    status::ready(world, &mut status, false, reasons::ROLLING_BACK, &cause);
    Plan::of(status, Some(world.now))
}

/// The release whose templates come back, or have come back and are to stay: none when the Environment wants something
/// that has not failed.
pub(super) fn wanted(world: &World, status: &EnvironmentStatus) -> Option<DesiredRelease> {
    let (rollout, restore, deployed) = (status.rollout.as_ref()?, status.restore.as_ref()?, status.deployed.as_ref()?);
    let before = || DesiredRelease {
        content: Content::Release(Box::new(deployed.clone())),
        revisions: restore.revisions.clone(),
        configuration: BTreeMap::new(),
    };
    match (rollout.state, &world.desired) {
        (RolloutState::RollingBack, _) => Some(before()),
        (RolloutState::RolledBack, Desired::Release(desired)) if desired.revisions == restore.revisions => {
            Some(desired.as_ref().clone())
        }
        (RolloutState::RolledBack, Desired::Release(desired)) => (desired.revision() == restore.failed).then(before),
        (RolloutState::RolledBack, Desired::Nothing | Desired::Unknown(_) | Desired::Unconfigured(_))
        | (RolloutState::Progressing | RolloutState::Paused | RolloutState::Complete | RolloutState::Failed, _) => None,
    }
}

/// The next step of the way back, or what keeps an Environment that went back as it is.
pub(super) fn next(world: &World, status: EnvironmentStatus, before: &DesiredRelease) -> Plan {
    let going = status.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::RollingBack);
    if !world.keeps(&before.revisions) {
        return lost(world, status, before);
    }
    let taken = match strategy(&world.environment.spec) {
        _ if !going => steady(world, before),
        Strategy::Rolling => rolling::next(world, before, Way::Back),
        Strategy::AllAtOnce => all_at_once::next(world, before),
    };
    if taken.complete {
        return restored(world, status, before);
    }
    progress(world, status, before, taken, Way::Back)
}

/// The templates are gone while they come back: nothing is left to go on with.
fn lost(world: &World, mut status: EnvironmentStatus, before: &DesiredRelease) -> Plan {
    let cause = status.restore.as_ref().map(|restore| restore.cause.clone()).unwrap_or_default();
    let why = truncate(
        &format!(
            "the templates of {} are gone: deploy a corrected release; it failed because {cause}",
            before.revision()
        ),
        MESSAGE_MAX,
    );
    if let Some(rollout) = &mut status.rollout {
        rollout.state = RolloutState::Failed;
        rollout.message.clone_from(&why);
    }
    status::ready(world, &mut status, false, reasons::ROLLOUT_FAILED, &why);
    Plan::of(status, None)
}

/// Every pod runs what ran before.
fn restored(world: &World, mut status: EnvironmentStatus, before: &DesiredRelease) -> Plan {
    let pairs = world.environment.spec.publish.replicas;
    let Some(restore) = status.restore.clone() else { return Plan::of(status, None) };
    // What failed is not wanted any more: a change of the spec must not bring it back.
    status.target.take_if(|target| Some(&target.uid) == restore.uid.as_ref());
    let since = match &status.rollout {
        Some(old) if old.state == RolloutState::RolledBack => old.since.clone(),
        _ => Time(world.now),
    };
    let watch = status.rollout.as_ref().and_then(|rollout| rollout.watch.clone());
    status.rollout = Some(RolloutStatus {
        state: RolloutState::RolledBack,
        phase: "Complete".into(),
        since,
        revision: restore.failed.clone(),
        updated: pairs,
        total: pairs,
        message: restore.cause.clone(),
        message_at: None,
        watch,
    });
    let digest = |release: Option<&ImageRef>| release.map(|release| release.digest().to_string()).unwrap_or_default();
    // A release that failed leaves the Environment as it was. A spec that failed is still what it asks for.
    let (met, failed) = match &restore.execution {
        Some(execution) => (true, format!("{} of {execution} failed", digest(restore.release.as_ref()))),
        None => (false, "its changed spec failed: correct it".to_owned()),
    };
    let told = format!("every pod runs {} again; {failed}: {}", digest(before.content.release()), restore.cause);
    match &world.configurations.missing {
        // The pods go on with the variables that they have.
        Some(why) => status::ready(world, &mut status, false, reasons::CONFIGURATION_MISSING, why),
        None => status::ready(world, &mut status, met, reasons::ROLLED_BACK, &told),
    }
    let mut changes = unneeded_services(world, before);
    changes.extend(configuration::unneeded(world, before));
    Plan { changes, ..Plan::of(status, None) }
}
