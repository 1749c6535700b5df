//! Rolling: author first, then pair by pair, each proved before the next is touched.

use launchway_crds::environment::Tier;

use super::{
    Change, Move, PAIR, START, Way, configuration, missing, rollout_to, steady, waits_for, watch,
    world::{DesiredRelease, Revisions, Workload, World},
};

/// The phase in which pairs are added that were asked for in the middle of a rollout.
const GROW: &str = "Grow";

/// The next move of a Rolling rollout.
///
/// Pairs are reached from the highest ordinal down, by lowering the `partition` of both StatefulSets:
/// the dispatcher's first, so that its pod has left the Service and drained before its publish ends;
/// then the publish's, and both start in parallel. Whatever dies meanwhile comes back on the revision
/// that its ordinal is on. When only dispatchers change, publishes stay.
pub(super) fn next(world: &World, desired: &DesiredRelease, way: Way) -> Move {
    let revisions = &desired.revisions;
    let pairs = world.environment.spec.publish.replicas;
    let surge = world.environment.spec.rollout.surge;
    let (publish, dispatcher) = match (&world.publish, &world.dispatcher) {
        (Some(publish), Some(dispatcher)) => (publish, dispatcher),
        // Nothing serves yet: there is nothing to spare.
        _ => return first(world, desired),
    };
    if Tier::ALL.iter().all(|tier| world.is_rolled(*tier, revisions)) {
        return steady(world, desired);
    }
    // An interrupted start has changed publish already; its partition tells how many pairs were there.
    let begun = publish.revision == revisions.aem;
    let all = publish.replicas.max(dispatcher.replicas);
    let serving = if begun { publish.partition.max(dispatcher.replicas) } else { all };
    let added = way == Way::Back && only_added(world, revisions, [publish, dispatcher]);
    let most = match way {
        _ if added => all,
        Way::Forward => all.max(pairs.saturating_add(surge)),
        // A pair that failed serves nobody: another one makes up for it, and proves that what ran before still runs.
        Way::Back if begun && dispatcher.revision == revisions.dispatcher => all,
        Way::Back => serving.saturating_add(surge).max(all),
    };
    if world.author.as_ref().is_none_or(|author| author.revision != revisions.aem) {
        // Its Services are there; those of new pairs can wait, for they do.
        let mut changes = configuration::missing(world, desired);
        changes.push(Change::Workload { tier: Tier::Author, replicas: 1, partition: 0 });
        return Move::change("Author", changes);
    }
    let mut changes = missing(world, desired, most);
    if !world.is_ready(Tier::Author, 0, revisions) {
        let phase = watch::phase_of(world, desired, dispatcher.partition, "Author".into());
        return Move { changes, ..Move::wait(phase, waits_for(world, desired, &[Tier::Author], 0..1)) };
    }

    if added {
        return drop_added(world, revisions, changes);
    }
    if publish.revision != revisions.aem || dispatcher.revision != revisions.dispatcher {
        // Only new ordinals get the new revision: nothing that serves is touched yet. One that stays may have to grow.
        if !begun || publish.replicas < most {
            let partition = if begun { publish.partition } else { all };
            changes.push(Change::Workload { tier: Tier::Publish, replicas: most, partition });
        }
        if dispatcher.revision != revisions.dispatcher {
            changes.push(Change::Workload { tier: Tier::Dispatcher, replicas: most, partition: serving });
        }
        return Move::change("Surge", changes);
    }
    if !changes.is_empty() {
        let reached = phase(pairs, publish.partition);
        return Move::change(watch::phase_of(world, desired, dispatcher.partition, reached), changes);
    }

    // Pairs that were asked for meanwhile are added at once: their ordinals are on the new revision already. Those that
    // are not needed any more go in the end, for until then they may be what serves.
    let short = |workload: &Workload| workload.replicas < pairs;
    if short(publish) || short(dispatcher) {
        let grown =
            [(Tier::Publish, publish), (Tier::Dispatcher, dispatcher)].into_iter().filter(|(_, known)| short(known));
        let grown = grown.map(|(tier, known)| Change::Workload { tier, replicas: pairs, partition: known.partition });
        return Move::change(GROW, grown.collect());
    }

    // Pairs of this ordinal and above are on the new release, or on their way to it.
    let partition = publish.partition.max(dispatcher.partition);
    let replicas = publish.replicas;
    if dispatcher.partition < partition {
        let ordinal = dispatcher.partition;
        let detaching = world
            .pods
            .iter()
            .any(|pod| pod.tier == Tier::Dispatcher && pod.ordinal == ordinal && pod.revision != revisions.dispatcher);
        if detaching {
            return Move::wait(phase(pairs, ordinal), format!("dispatcher {ordinal} leaves the Service and drains"));
        }
        return Move::change(
            phase(pairs, ordinal),
            vec![Change::Workload { tier: Tier::Publish, replicas, partition: ordinal }],
        );
    }
    // A pod that dies while its pair is watched is waited for within that watch: its time is not to begin again.
    let reached = watch::phase_of(world, desired, partition, phase(pairs, partition));
    if (partition..replicas).any(|ordinal| !world.pair_is_ready(ordinal, revisions)) {
        return Move::wait(reached, waits_for(world, desired, &PAIR, partition..replicas));
    }
    let ordinal = partition.saturating_sub(1);
    // A dispatcher of the previous release beside a publish of the new one serves only when it is replaced.
    let whole = if publish.partition > 0 { ordinal.min(publish.partition) } else { ordinal };
    let away = (0..whole).find(|other| !serves(world, *other) && may_return(world, *other, revisions, way));
    if let Some(away) = away.filter(|_| patient(world, desired)) {
        let next = phase(pairs, ordinal);
        return Move::wait(reached, format!("pair {} is away: {next} follows when it serves again", away + 1));
    }
    if let Some(after) = pauses(world, pairs, partition).filter(|_| way == Way::Forward) {
        return Move::pause(
            phase(pairs, partition),
            format!("somebody who resumes it, after {after} of {pairs} pairs"),
        );
    }
    let watched = match way {
        Way::Forward => watch::hold(world, desired, partition),
        // What comes back is known, and what serves is known to be worse.
        Way::Back => watch::Hold::Over(None),
    };
    let watch = match watched {
        watch::Hold::Goes(held) => return held,
        watch::Hold::Over(watch) => watch,
    };
    let change = Change::Workload { tier: Tier::Dispatcher, replicas: dispatcher.replicas, partition: ordinal };
    Move { watch, ..Move::change(phase(pairs, ordinal), vec![change]) }
}

/// After how many pairs the rollout pauses, if that is now: ordinals from `partition` up serve the new release.
fn pauses(world: &World, pairs: i32, partition: i32) -> Option<i32> {
    let target = world.environment.status.as_ref()?.target.as_ref()?;
    target.pause_after.filter(|after| pairs.saturating_sub(partition) >= *after)
}

/// Whether a rollout that failed has reached no pair that the Environment wants: only pairs that it added are on another
/// revision, and they simply go.
fn only_added(world: &World, revisions: &Revisions, workloads: [&Workload; 2]) -> bool {
    let pairs = world.environment.spec.publish.replicas;
    let others = PAIR.into_iter().zip(workloads).filter(|(tier, workload)| workload.revision != revisions.of(*tier));
    let mut others = others.peekable();
    others.peek().is_some()
        && others.all(|(_, workload)| workload.partition >= pairs)
        && world
            .pods
            .iter()
            .all(|pod| !PAIR.contains(&pod.tier) || pod.ordinal >= pairs || pod.revision == revisions.of(pod.tier))
}

/// Added pairs go, dispatchers first. Every other pod is on its revision already: no partition has to hold it.
fn drop_added(world: &World, revisions: &Revisions, mut changes: Vec<Change>) -> Move {
    let pairs = world.environment.spec.publish.replicas;
    let back = |tier| {
        let other = world.workload(tier).filter(|workload| workload.revision != revisions.of(tier));
        other.map(|workload| Change::Workload { tier, replicas: workload.replicas.min(pairs), partition: 0 })
    };
    if let Some(change) = back(Tier::Dispatcher) {
        changes.push(change);
        return Move::change("Surge", changes);
    }
    if world.pods.iter().any(|pod| pod.tier == Tier::Dispatcher && pod.ordinal >= pairs) {
        return Move { changes, ..Move::wait("Surge", "dispatchers that were added drain".into()) };
    }
    changes.extend(back(Tier::Publish));
    Move::change("Surge", changes)
}

/// Whether a pair that does not serve may do so again without being replaced: on the way back not when a pod of it is on
/// the release that failed.
fn may_return(world: &World, ordinal: i32, revisions: &Revisions, way: Way) -> bool {
    let mut own = world.pods.iter().filter(|pod| pod.ordinal == ordinal && PAIR.contains(&pod.tier));
    way == Way::Forward || own.all(|pod| pod.revision == revisions.of(pod.tier))
}

/// Whether a pair serves, on whatever revision.
fn serves(world: &World, ordinal: i32) -> bool {
    let on =
        |tier| world.pods.iter().any(|pod| pod.tier == tier && pod.ordinal == ordinal && pod.ready && !pod.terminating);
    on(Tier::Publish) && on(Tier::Dispatcher)
}

/// Whether a pair that is away is still waited for. Half-way to the ready time-out the rollout goes on: the new release may
/// be what cures it.
fn patient(world: &World, desired: &DesiredRelease) -> bool {
    let spec = &world.environment.spec.rollout;
    rollout_to(world, desired.revision())
        .is_none_or(|rollout| world.now.duration_since(rollout.since.0) < watch::half_way(spec, &rollout.phase))
}

/// The name of the phase in which a pair is reached: pairs are counted from 1, as people do.
pub(super) fn phase(pairs: i32, ordinal: i32) -> String {
    if ordinal >= pairs { "Surge".into() } else { format!("Pair {}", ordinal.saturating_add(1)) }
}

/// Nothing is there: everything starts together.
fn first(world: &World, desired: &DesiredRelease) -> Move {
    let pairs = world.environment.spec.publish.replicas;
    let mut changes = missing(world, desired, pairs);
    for (tier, replicas) in [(Tier::Author, 1), (Tier::Publish, pairs), (Tier::Dispatcher, pairs)] {
        if world.workload(tier).is_none_or(|workload| workload.revision != desired.revisions.of(tier)) {
            changes.push(Change::Workload { tier, replicas, partition: 0 });
        }
    }
    Move::change(START, changes)
}
