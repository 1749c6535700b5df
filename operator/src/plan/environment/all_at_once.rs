//! AllAtOnce: every pod of every tier together, the quickest way to another release.

use launchway_crds::environment::Tier;

use super::{
    Change, Move, START, bare, missing_services, steady,
    world::{DesiredRelease, World},
};

const ALL_AT_ONCE: &str = "AllAtOnce";

/// The next move of an AllAtOnce rollout.
///
/// A StatefulSet replaces its pods one by one, however it is configured, so tiers with several pods
/// are emptied first and filled again when the old pods are gone.
pub(super) fn next(world: &World, desired: &DesiredRelease) -> Move {
    let pairs = world.environment.spec.publish.replicas;
    let mut changes = missing_services(world, desired, pairs);
    let phase = if bare::serves_nothing(world) { START } else { ALL_AT_ONCE };
    let mut emptying = false;
    for (tier, wanted) in [(Tier::Author, 1), (Tier::Publish, pairs), (Tier::Dispatcher, pairs)] {
        let replicas = match world.workload(tier) {
            None => wanted,
            Some(workload) if workload.revision != desired.revision && workload.replicas > 1 => 0,
            Some(workload) if workload.revision != desired.revision => wanted,
            Some(workload) if workload.replicas == 0 || workload.partition != 0 => {
                let old = world.pods.iter().any(|pod| pod.tier == tier && pod.revision != desired.revision);
                if old {
                    emptying = true;
                    continue;
                }
                wanted
            }
            Some(_) => continue,
        };
        changes.push(Change::Workload { tier, replicas, partition: 0 });
    }
    if !changes.is_empty() {
        return Move::change(phase, changes);
    }
    if emptying {
        return Move::wait(phase, "pods of the previous release end".into());
    }
    Move { phase: phase.into(), ..steady(world, desired) }
}
