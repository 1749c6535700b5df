//! AllAtOnce: every pod of every tier together, the quickest way to another release.

use launchway_crds::environment::Tier;

use super::{
    Change, Move, START, ServiceName, bare, missing, steady, waits_for,
    world::{DesiredRelease, Workload, World},
};

const ALL_AT_ONCE: &str = "AllAtOnce";
/// Dispatchers leave the Service.
const DETACH: &str = "Detach";

/// The next move of an AllAtOnce rollout.
///
/// Before publishes are replaced dispatchers leave the Service, and they come back when all of them are ready; a pipeline
/// may do without that, and then every pod is replaced in one go. A StatefulSet replaces its pods one by one, however it is
/// configured, so tiers with several pods are emptied first and filled again when the old pods are gone.
pub(super) fn next(world: &World, desired: &DesiredRelease) -> Move {
    let pairs = world.environment.spec.publish.replicas;
    let mut changes = missing(world, desired, pairs);
    let phase = if bare::serves_nothing(world) { START } else { ALL_AT_ONCE };
    let detach = detaches(world, desired);
    if let Some(dispatcher) = world.dispatcher.as_ref().filter(|_| detach) {
        if dispatcher.revision != desired.revisions.dispatcher {
            changes.push(Change::Workload { tier: Tier::Dispatcher, replicas: 0, partition: 0 });
            return Move::change(DETACH, changes);
        }
        if old_pods(world, desired, Tier::Dispatcher) {
            return Move { changes, ..Move::wait(DETACH, "dispatchers leave the Service and drain".into()) };
        }
    }
    let mut emptying = false;
    for (tier, wanted) in [(Tier::Author, 1), (Tier::Publish, pairs), (Tier::Dispatcher, pairs)] {
        let replicas = match world.workload(tier) {
            _ if detach && tier == Tier::Dispatcher && world.dispatcher.is_some() => continue,
            None => wanted,
            Some(workload) if differs(workload, desired, tier) && workload.replicas > 1 => 0,
            Some(workload) if differs(workload, desired, tier) => wanted,
            Some(workload) if workload.replicas == 0 || workload.partition != 0 => {
                if old_pods(world, desired, tier) {
                    emptying = true;
                    continue;
                }
                wanted
            }
            // Pairs that are added while dispatchers are out.
            Some(workload) if detach && tier == Tier::Publish && workload.replicas < pairs => wanted,
            Some(_) => continue,
        };
        changes.push(Change::Workload { tier, replicas, partition: 0 });
    }
    if !changes.is_empty() {
        return Move::change(phase, author_first(changes));
    }
    if emptying {
        return Move::wait(phase, "pods of the previous release end".into());
    }
    if detach && world.dispatcher.as_ref().is_some_and(|dispatcher| dispatcher.replicas == 0) {
        if !world.is_ready(Tier::Author, 0, &desired.revisions) {
            return Move::wait(phase, waits_for(world, desired, &[Tier::Author], 0..1));
        }
        if (0..pairs).any(|ordinal| !world.is_ready(Tier::Publish, ordinal, &desired.revisions)) {
            return Move::wait(phase, waits_for(world, desired, &[Tier::Publish], 0..pairs));
        }
        return Move::change(phase, vec![Change::Workload { tier: Tier::Dispatcher, replicas: pairs, partition: 0 }]);
    }
    Move { phase: phase.into(), ..steady(world, desired) }
}

/// The same changes; the author, and what only it needs, come before the rest, for it takes the longest to start.
fn author_first(changes: Vec<Change>) -> Vec<Change> {
    let (mut first, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| match change {
        Change::Configuration(tier) | Change::Workload { tier, .. } => *tier == Tier::Author,
        Change::Service(name) => matches!(name, ServiceName::Pods(Tier::Author) | ServiceName::Author),
        Change::DeleteService(_) | Change::Further(_) | Change::DeleteFurther(_) | Change::DeleteConfiguration(_) => {
            false
        }
    });
    first.extend(others);
    first
}

/// Whether dispatchers are out of the Service while others are replaced: when publishes are replaced or have just been,
/// unless the pipeline says that they stay, or nothing serves that visitors could miss.
fn detaches(world: &World, desired: &DesiredRelease) -> bool {
    let asked = world.environment.status.as_ref().and_then(|status| status.target.as_ref());
    let moves = !world.is_rolled(Tier::Publish, &desired.revisions)
        || world.publish.as_ref().is_some_and(|publish| publish.replicas == 0);
    let out = world.dispatcher.as_ref().is_some_and(|dispatcher| dispatcher.replicas == 0);
    !bare::serves_nothing(world) && asked.is_none_or(|target| target.detach) && (moves || out)
}

fn differs(workload: &Workload, desired: &DesiredRelease, tier: Tier) -> bool {
    workload.revision != desired.revisions.of(tier)
}

/// Whether pods of another revision are there.
fn old_pods(world: &World, desired: &DesiredRelease, tier: Tier) -> bool {
    world.pods.iter().any(|pod| pod.tier == tier && pod.revision != desired.revisions.of(tier))
}
