//! Random histories of an Environment: pods die, releases follow each other before the last one is complete, pairs come
//! and go, releases are broken and mended, the operator dies between two changes, and time passes.

use jiff::SignedDuration;
use launchway_crds::environment::{RolloutState, Tier};
use launchway_operator::plan::environment::{
    next,
    world::{Counters, Desired, Silent},
};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::cluster::Cluster;
use super::random::config;

/// Something that happens to an Environment.
#[derive(Clone, Debug)]
enum Event {
    /// The operator does a round.
    Round,
    /// It dies after so many changes of a round, before it writes status.
    Cut(usize),
    /// The StatefulSet controller or a kubelet does one thing.
    Kubelet,
    /// A pod dies.
    Die(usize),
    /// Another release is to be rolled out.
    Target(char),
    /// A release is deployed again, and dispatchers drop something from their caches.
    Flush(char, u8),
    /// Pods of this release, or the one of a tier and ordinal, do not become ready, and may say so; none: all do.
    Broken(Option<char>, Option<(Tier, i32)>, bool),
    /// What follows a failure: what ran before comes back, or not.
    Restore(bool),
    /// Pairs are watched, and what follows when there is nothing to judge; none: they are not.
    Guard(Option<&'static str>),
    /// What the dispatcher of every ordinal says that it has counted.
    Counted(Option<Vec<Result<Counters, Silent>>>),
    /// The Environment's spec changes what its pods are.
    Edit(char),
    /// Pairs are added or taken away.
    Pairs(i32),
    /// Seconds pass.
    Pass(i64),
}

/// Any event at any time.
struct Anything;

impl ReferenceStateMachine for Anything {
    /// Type of the Environment, pairs and surge at the beginning.
    type State = (&'static str, i32, i32);
    type Transition = Event;

    fn init_state() -> BoxedStrategy<Self::State> {
        (prop::sample::select(vec!["Production", "Stage"]), 1..4, 0..2).boxed()
    }

    fn transitions(_: &Self::State) -> BoxedStrategy<Event> {
        let letter = || prop::sample::select(vec!['1', '2', '3']);
        let pod = || (prop::sample::select(Tier::ALL.to_vec()), 0..4);
        let counters = || {
            let known = (0..1000_i64, 0..20_i64, 0..400_000_i64)
                .prop_map(|(requests, errors, milliseconds)| Ok(Counters { requests, errors, milliseconds }));
            prop_oneof![8 => known, 1 => Just(Err(Silent::NoPort)), 1 => Just(Err(Silent::Away("time-out".into())))]
        };
        prop_oneof![
            40 => Just(Event::Round),
            60 => Just(Event::Kubelet),
            5 => (0..3_usize).prop_map(Event::Cut),
            5 => (0..12_usize).prop_map(Event::Die),
            2 => letter().prop_map(Event::Target),
            1 => (letter(), 0..3_u8).prop_map(|(letter, time)| Event::Flush(letter, time)),
            2 => (prop::option::of(letter()), prop::option::of(pod()), any::<bool>())
                .prop_map(|(letter, at, hopeless)| Event::Broken(letter, at, hopeless)),
            1 => prop::bool::weighted(0.8).prop_map(Event::Restore),
            1 => prop::option::of(prop::sample::select(vec!["Continue", "Fail"])).prop_map(Event::Guard),
            3 => prop::option::weighted(0.9, prop::collection::vec(counters(), 5)).prop_map(Event::Counted),
            1 => letter().prop_map(Event::Edit),
            1 => (1..4).prop_map(Event::Pairs),
            2 => prop::sample::select(vec![1, 31, 460, 1000]).prop_map(Event::Pass),
        ]
        .boxed()
    }

    fn apply(state: Self::State, _: &Event) -> Self::State {
        state
    }
}

/// Has the Environment's pairs watched, or not.
fn guard(cluster: &mut Cluster, without_data: Option<&str>) {
    let guard = without_data.map(|without_data| serde_json::json!({ "withoutData": without_data }));
    cluster.world.environment.spec.rollout.guard = guard.map(|guard| serde_json::from_value(guard).unwrap());
}

struct Histories;

impl StateMachineTest for Histories {
    type SystemUnderTest = Cluster;
    type Reference = Anything;

    fn init_test((type_, pairs, surge): &<Anything as ReferenceStateMachine>::State) -> Cluster {
        let mut cluster = Cluster::rolled(type_, *pairs, *surge);
        cluster.set("/rollout/onFailure", serde_json::json!("Restore"));
        guard(&mut cluster, Some("Continue"));
        cluster
    }

    fn apply(mut cluster: Cluster, _: &<Anything as ReferenceStateMachine>::State, event: Event) -> Cluster {
        match event {
            Event::Round => {
                cluster.round();
            }
            Event::Cut(after) => {
                let plan = next(&cluster.world);
                cluster.change(&plan, after);
            }
            Event::Kubelet => {
                cluster.kubelet();
            }
            Event::Die(at) if at < cluster.world.pods.len() => {
                cluster.world.pods.remove(at);
            }
            Event::Die(_) => {}
            Event::Target(letter) => {
                cluster.target(letter);
            }
            Event::Flush(letter, time) => {
                cluster.flush(letter, time);
            }
            Event::Broken(letter, at, hopeless) => {
                cluster.broken = letter.map(|letter| format!("rev-{letter}"));
                (cluster.broken_at, cluster.hopeless) = (at, hopeless);
            }
            Event::Restore(on) => {
                let policy = if on { "Restore" } else { "Hold" };
                cluster.set("/rollout/onFailure", serde_json::json!(policy));
            }
            Event::Guard(without_data) => guard(&mut cluster, without_data),
            Event::Counted(counters) => {
                cluster.world.counters = counters.map(|counters| (0..).zip(counters).collect());
            }
            Event::Edit(letter) => {
                cluster.edit(letter);
            }
            Event::Pairs(pairs) => cluster.world.environment.spec.publish.replicas = pairs,
            Event::Pass(seconds) => {
                cluster.world.now = cluster.world.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
            }
        }
        cluster
    }

    fn check_invariants(cluster: &Cluster, _: &<Anything as ReferenceStateMachine>::State) {
        let plan = next(&cluster.world);
        assert_eq!(plan, next(&cluster.world), "the same facts give another plan");
        let Some(publish) = &cluster.world.publish else { return };
        let Desired::Release(desired) = &cluster.world.desired else { return };
        let status = cluster.world.environment.status.clone().unwrap_or_default();
        let back = status
            .restore
            .as_ref()
            .filter(|_| status.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::RollingBack));
        let revisions = back.map_or(&desired.revisions, |restore| &restore.revisions);
        // A dispatcher is gone before its publish is replaced, so that it never stands alone in the Service.
        let own = format!("{}.", revisions.aem);
        let alone = cluster.world.pods.iter().find(|pod| {
            pod.tier == Tier::Dispatcher
                && pod.ready
                && pod.ordinal >= publish.partition
                && !pod.revision.starts_with(&own)
        });
        assert!(publish.revision != revisions.aem || alone.is_none(), "{alone:?} behind {publish:?}");
        let failed = plan.status.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::Failed);
        if plan.status.target.is_some() && plan.changes.is_empty() && !failed {
            assert!(plan.wake.is_some(), "nothing ends the wait of {:?}", plan.status.rollout);
        }
        // Who went back runs what ran before, and wants nothing that failed.
        if let (Some(rollout), Some(restore)) = (&plan.status.rollout, &plan.status.restore)
            && rollout.state == RolloutState::RolledBack
        {
            assert_eq!(publish.revision, restore.revisions.aem);
            assert_eq!(plan.status.target, None);
            assert_ne!(restore.revisions.dispatcher, restore.failed);
        }
    }

    fn teardown(mut cluster: Cluster, _: <Anything as ReferenceStateMachine>::State) {
        cluster.spec = None;
        cluster.mend();
        // Nobody comes: every watch ends in its time.
        guard(&mut cluster, Some("Continue"));
        cluster.world.counters = Some((0..5).map(|ordinal| (ordinal, Ok(Counters::default()))).collect());
        cluster.target('3').play(|_| ());
        // A pair that an interrupted rollout left with two releases never serves: half-way to the deadline the rollout
        // goes on without it, once for every pair at most; and every pair but the last is watched.
        let there = cluster.world.publish.as_ref().map_or(0, |publish| publish.replicas);
        for _ in 0..=2 * there.max(cluster.world.environment.spec.publish.replicas) {
            cluster.world.now = cluster.world.now.checked_add(SignedDuration::from_secs(460)).unwrap();
            cluster.play(|_| ());
        }
        assert!(cluster.is_complete('3'), "it is never complete: {:?} {cluster:?}", cluster.phases);
        let plan = next(&cluster.world);
        assert!(plan.changes.is_empty() && Some(&plan.status) == cluster.world.environment.status.as_ref());
    }
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happened_before_the_next_release_is_rolled_out(sequential 20..150 => Histories);
}
