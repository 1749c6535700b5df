//! What an Environment says of itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{self, reasons, truncate, types},
    environment::{EnvironmentStatus, RolloutState, Tier, Urls},
    names::labels,
};

use crate::text::says_the_same;

use super::{
    Change, MESSAGE_MAX, ServiceName,
    objects::{Further, Side},
    world::{Pod, Revisions, World},
};

/// The old status with everything that follows from facts brought up to date.
pub(super) fn carried(world: &World) -> EnvironmentStatus {
    let environment = &world.environment;
    let name = environment.metadata.name.as_deref().unwrap_or_default();
    let mut status = environment.status.clone().unwrap_or_default();
    if !world.lock_holder_runs {
        status.lock = None;
    }
    let pairs = world.publish.as_ref().map_or(0, |publish| publish.replicas);
    status.observed_generation = environment.metadata.generation.unwrap_or_default();
    status.ready_replicas = serving(world, &[], &Revisions::default());
    status.selector = Some(format!("{}={name},{}={}", labels::ENVIRONMENT, labels::TIER, Tier::Publish.as_str()));
    (status.replicas, status.urls) = (0, None);
    if world.publish.is_some() {
        let rolls = status.rollout.as_ref().is_some_and(|rollout| rollout.state != RolloutState::Complete);
        paired(world, &mut status, pairs, rolls);
    }
    status
}

/// The number of pairs that serve once these changes, towards these revisions, are made: a pod that a change replaces or
/// takes away serves no more.
pub(super) fn serving(world: &World, changes: &[Change], wanted: &Revisions) -> i32 {
    let goes = |pod: &Pod| {
        changes.iter().any(|change| {
            matches!(change, Change::Workload { tier, replicas, partition } if *tier == pod.tier
                && (pod.ordinal >= *replicas || (pod.ordinal >= *partition && pod.revision != wanted.of(*tier))))
        })
    };
    let serves = |tier, ordinal| {
        let mut pods = world.pods.iter().filter(|pod| pod.tier == tier && pod.ordinal == ordinal);
        pods.any(|pod| pod.ready && !pod.terminating && !goes(pod))
    };
    let pairs = world.publish.as_ref().map_or(0, |publish| publish.replicas);
    let count =
        (0..pairs).filter(|ordinal| serves(Tier::Publish, *ordinal) && serves(Tier::Dispatcher, *ordinal)).count();
    i32::try_from(count).unwrap_or(pairs)
}

/// The number of pairs that exist, and so the addresses where they are reached. While a rollout goes on, or was held, pairs
/// that nobody asked for are not counted: an autoscaler that divides by this number would keep the one that was added.
pub(super) fn paired(world: &World, status: &mut EnvironmentStatus, pairs: i32, rolls: bool) {
    let meta = &world.environment.metadata;
    let (name, namespace) = (meta.name.as_deref().unwrap_or_default(), meta.namespace.as_deref().unwrap_or_default());
    let url = |service: ServiceName| format!("http://{}.{namespace}.svc", service.of(name, ""));
    status.replicas = if rolls { pairs.min(world.environment.spec.publish.replicas) } else { pairs };
    status.urls = Some(Urls {
        author: url(ServiceName::Author),
        dispatcher: url(ServiceName::Dispatcher),
        site: address(world, Side::Visitors),
        editors: address(world, Side::Editors),
    });
}

/// The first address of a route. One that was taken out of the spec is told until its Ingress is gone: it is looked for as
/// long as status tells of it.
fn address(world: &World, side: Side) -> Option<String> {
    let route = world.environment.spec.route.as_ref();
    let (hosts, tls) = match side {
        Side::Visitors => route.map(|route| (&route.hosts, &route.tls_secret_name)),
        Side::Editors => {
            route.and_then(|route| route.author.as_ref()).map(|author| (&author.hosts, &author.tls_secret_name))
        }
    }
    .unzip();
    let scheme = if tls.is_some_and(Option::is_some) { "https" } else { "http" };
    if let Some(host) = hosts.and_then(|hosts| hosts.first()) {
        return Some(format!("{scheme}://{host}"));
    }
    let known = world.environment.status.as_ref().and_then(|status| status.urls.as_ref());
    let known = known.filter(|_| world.further.contains(&Further::Route(side)));
    match side {
        Side::Visitors => known.and_then(|urls| urls.site.clone()),
        Side::Editors => known.and_then(|urls| urls.editors.clone()),
    }
}

/// Sets `Ready` and the two conditions that kstatus reads.
pub(super) fn ready(world: &World, status: &mut EnvironmentStatus, ready: bool, reason: &str, message: &str) {
    let now = Time(world.now);
    let generation = world.environment.metadata.generation;
    let needs_a_person =
        [reasons::ROLLOUT_FAILED, reasons::CONFIGURATION_MISSING, reasons::CHANGE_REFUSED, reasons::ROLLED_BACK];
    let stalled = !ready && needs_a_person.contains(&reason);
    let working = !ready && !stalled && reason != reasons::NO_RELEASE;
    let all = &mut status.conditions;
    conditions::set(all, &now, generation, types::READY, ready, reason, message);
    conditions::set(all, &now, generation, types::RECONCILING, working, reason, message);
    conditions::set(all, &now, generation, types::STALLED, stalled, reason, message);
}

/// What is told when the apiserver refuses a change: where everything stood before, and what it says. It is tried again, and
/// what it says then is told if it differs in more than numbers.
#[must_use]
pub fn refused(world: &World, why: &str) -> EnvironmentStatus {
    let mut status = carried(world);
    let before = conditions::get(&status.conditions, types::READY)
        .filter(|before| before.reason == reasons::CHANGE_REFUSED && says_the_same(&before.message, why))
        .map(|before| before.message.clone());
    let told = before.unwrap_or_else(|| truncate(why, MESSAGE_MAX));
    ready(world, &mut status, false, reasons::CHANGE_REFUSED, &told);
    status
}

/// Says of an Environment that is to be deleted what that waits for; any other has no such condition.
pub(super) fn deleting(world: &World, status: &mut EnvironmentStatus) {
    let Some(lock) = status.lock.as_ref().filter(|_| world.is_deleted()) else { return };
    let (holder, namespace) = (&lock.execution, world.environment.metadata.namespace.as_deref().unwrap_or_default());
    let told = format!(
        "waits for execution {holder}, which has this Environment, to end: kubectl launchway cancel {holder} --namespace {namespace}"
    );
    let (now, generation) = (Time(world.now), world.environment.metadata.generation);
    let all = &mut status.conditions;
    conditions::set(all, &now, generation, types::DELETING, true, reasons::DELETION_WAITS, &told);
}
