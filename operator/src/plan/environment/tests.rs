//! Rollouts, played against a small model of the StatefulSet controller.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    Environment,
    conditions::{self, reasons, types},
    digest::ImageRef,
    environment::{ReleaseImages, RolloutState, Target, Tier},
};

use super::{
    Change, next,
    world::{Desired, DesiredRelease, Pod, Workload, World},
};

fn image(letter: char) -> ImageRef {
    format!("registry.example.com/wknd/images@sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
}

fn release(letter: char) -> DesiredRelease {
    DesiredRelease {
        release: image(letter),
        images: ReleaseImages { aem: image('a'), dispatcher: image('d') },
        revision: format!("rev-{letter}"),
    }
}

struct Cluster {
    world: World,
    /// Revision for ordinals below the partition, by tier: the StatefulSet controller's memory.
    previous: [String; 3],
    /// Pods of this revision never become ready.
    broken: Option<String>,
    phases: Vec<String>,
}

const fn index(tier: Tier) -> usize {
    match tier {
        Tier::Author => 0,
        Tier::Publish => 1,
        Tier::Dispatcher => 2,
    }
}

impl Cluster {
    fn new(type_: &str, pairs: i32, surge: i32) -> Self {
        let environment: Environment = serde_json::from_value(serde_json::json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
            "metadata": { "name": "prod", "namespace": "wknd" },
            "spec": { "type": type_, "publish": { "replicas": pairs }, "rollout": { "surge": surge } },
        }))
        .unwrap();
        let world = World {
            now: "2026-11-21T10:00:00Z".parse().unwrap(),
            environment,
            desired: Desired::Nothing,
            author: None,
            publish: None,
            dispatcher: None,
            services: BTreeSet::new(),
            pods: vec![],
            lock_holder_runs: true,
        };
        Self { world, previous: Default::default(), broken: None, phases: vec![] }
    }

    fn target(&mut self, letter: char) -> &mut Self {
        let wanted = release(letter);
        let status = self.world.environment.status.get_or_insert_default();
        status.rollout = None;
        status.target = Some(Target {
            execution: format!("wknd-{letter}"),
            uid: format!("uid-{letter}"),
            release: wanted.release.clone(),
            images: wanted.images.clone(),
            made_at: None,
            since: Time(self.world.now),
        });
        self.world.desired = Desired::Release(Box::new(wanted));
        self
    }

    fn slot(&mut self, tier: Tier) -> &mut Option<Workload> {
        match tier {
            Tier::Author => &mut self.world.author,
            Tier::Publish => &mut self.world.publish,
            Tier::Dispatcher => &mut self.world.dispatcher,
        }
    }

    /// One round of the planner. Says whether it changed anything.
    fn round(&mut self) -> bool {
        let plan = next(&self.world);
        let Desired::Release(desired) = self.world.desired.clone() else { panic!("nothing is desired") };
        let acted = !plan.changes.is_empty();
        for change in plan.changes {
            match change {
                Change::Service(name) => {
                    self.world.services.insert(name.of("prod", &desired.revision));
                }
                Change::DeleteService(name) => {
                    self.world.services.remove(&name);
                }
                Change::Workload { tier, replicas, partition } => {
                    let revision = desired.revision.clone();
                    let old = self.slot(tier).replace(Workload { revision: revision.clone(), replicas, partition });
                    match old {
                        None => self.previous[index(tier)] = revision,
                        Some(old) if old.revision != revision && old.partition == 0 => {
                            self.previous[index(tier)] = old.revision;
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        if let Some(rollout) = &plan.status.rollout
            && self.phases.last() != Some(&rollout.phase)
        {
            self.phases.push(rollout.phase.clone());
        }
        self.world.environment.status = Some(plan.status);
        acted
    }

    /// One step of the StatefulSet controller and the kubelet. Says whether anything happened.
    fn kubelet(&mut self) -> bool {
        for tier in Tier::ALL {
            let Some(set) = self.world.workload(tier).cloned() else { continue };
            let previous = self.previous[index(tier)].clone();
            let wanted = |ordinal: i32| if ordinal >= set.partition { &set.revision } else { &previous };
            if let Some(at) = self.world.pods.iter().position(|pod| {
                pod.tier == tier
                    && (pod.ordinal >= set.replicas || (pod.ordinal >= set.partition && pod.revision != set.revision))
            }) {
                self.world.pods.remove(at);
                return true;
            }
            for ordinal in 0..set.replicas {
                if !self.world.pods.iter().any(|pod| pod.tier == tier && pod.ordinal == ordinal) {
                    let revision = wanted(ordinal).clone();
                    self.world.pods.push(Pod {
                        tier,
                        ordinal,
                        revision,
                        ready: false,
                        terminating: false,
                        problem: None,
                        hopeless: false,
                    });
                    return true;
                }
            }
        }
        // A dispatcher is ready when the publish of its own ordinal and revision is, through their Service.
        let publishes: Vec<(i32, String)> = self
            .world
            .pods
            .iter()
            .filter(|pod| pod.tier == Tier::Publish && pod.ready)
            .map(|pod| (pod.ordinal, pod.revision.clone()))
            .collect();
        let services = self.world.services.clone();
        for pod in &mut self.world.pods {
            let answers = match pod.tier {
                Tier::Author | Tier::Publish => self.broken.as_ref() != Some(&pod.revision),
                Tier::Dispatcher => {
                    publishes.contains(&(pod.ordinal, pod.revision.clone()))
                        && services.contains(&super::pair_service("prod", &pod.ordinal.to_string(), &pod.revision))
                }
            };
            if pod.ready != answers {
                pod.ready = answers;
                return true;
            }
        }
        false
    }

    /// Pairs that serve: both pods ready, on one revision.
    fn serving(&self) -> usize {
        (0..10)
            .filter(|ordinal| {
                ["rev-1", "rev-2", "rev-3"].iter().any(|revision| self.world.pair_is_ready(*ordinal, revision))
            })
            .count()
    }

    /// Plays until nothing happens any more; `check` sees every state.
    fn play(&mut self, mut check: impl FnMut(&Self)) -> &mut Self {
        for _ in 0..500 {
            let acted = self.round();
            check(self);
            let happened = self.kubelet();
            check(self);
            if !acted && !happened {
                return self;
            }
        }
        panic!("no rest: {:?}", self.phases);
    }

    fn rolled(type_: &str, pairs: i32, surge: i32) -> Self {
        let mut cluster = Self::new(type_, pairs, surge);
        cluster.target('1').play(|_| ());
        assert!(cluster.is_complete('1'));
        cluster.phases.clear();
        cluster
    }

    fn is_complete(&self, letter: char) -> bool {
        let status = self.world.environment.status.as_ref().unwrap();
        let wanted = release(letter);
        let pairs = self.world.environment.spec.publish.replicas;
        status.target.is_none()
            && status.deployed.as_ref().is_some_and(|deployed| deployed.release == wanted.release)
            && status.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::Complete)
            && self.world.is_ready(Tier::Author, 0, &wanted.revision)
            && (0..pairs).all(|ordinal| self.world.pair_is_ready(ordinal, &wanted.revision))
            && i32::try_from(self.world.pods.len()).unwrap() == 1 + 2 * pairs
    }

    fn ready_reason(&self) -> String {
        let status = self.world.environment.status.as_ref().unwrap();
        conditions::get(&status.conditions, types::READY).unwrap().reason.clone()
    }
}

#[test]
fn the_first_release_starts_everything_together() {
    let cluster = Cluster::rolled("Production", 2, 1);
    assert_eq!(cluster.ready_reason(), reasons::READY);
    let status = cluster.world.environment.status.as_ref().unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (2, 2));
    assert_eq!(status.selector.as_deref(), Some("launchway.dev/environment=prod,launchway.dev/tier=publish"));
}

#[test]
fn rolling_goes_author_surge_pair_by_pair_and_never_serves_with_fewer_pairs() {
    for pairs in [1, 2, 4] {
        let mut cluster = Cluster::rolled("Production", pairs, 1);
        cluster.target('2').play(|cluster| {
            assert!(cluster.serving() >= usize::try_from(pairs).unwrap(), "{:?}", cluster.world.pods);
        });
        assert!(cluster.is_complete('2'));
        let mut expected = vec!["Author".to_string(), "Surge".into()];
        expected.extend((1..=pairs).rev().map(|pair| format!("Pair {pair}")));
        expected.extend(["Settle".into(), "Complete".into()]);
        assert_eq!(cluster.phases, expected);
        assert!(cluster.world.services.iter().all(|name| !name.contains("rev-1")), "{:?}", cluster.world.services);
    }
}

#[test]
fn without_surge_one_pair_at_a_time_is_away() {
    let mut cluster = Cluster::rolled("Production", 3, 0);
    cluster.target('2').play(|cluster| assert!(cluster.serving() >= 2));
    assert!(cluster.is_complete('2'));
    assert!(!cluster.phases.contains(&"Surge".to_string()) || cluster.world.pods.len() == 7);
}

#[test]
fn a_dispatcher_leaves_before_its_publish_is_replaced() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.target('2').play(|cluster| {
        for ordinal in 0..2 {
            let on = |tier| {
                cluster
                    .world
                    .pods
                    .iter()
                    .find(|pod| pod.tier == tier && pod.ordinal == ordinal)
                    .map(|pod| &pod.revision)
            };
            if on(Tier::Dispatcher).is_some_and(|revision| revision == "rev-1") {
                assert_eq!(on(Tier::Publish).map(String::as_str), Some("rev-1"));
            }
        }
    });
}

#[test]
fn a_broken_release_stops_before_a_serving_pair_is_touched() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.broken = Some("rev-2".into());
    cluster.target('2').play(|cluster| assert!(cluster.serving() >= 2));
    cluster.world.now = cluster.world.now.checked_add(SignedDuration::from_mins(16)).unwrap();
    cluster.play(|cluster| assert!(cluster.serving() >= 2));
    let status = cluster.world.environment.status.clone().unwrap();
    assert_eq!(status.rollout.unwrap().state, RolloutState::Failed);
    assert_eq!(status.deployed.unwrap().release, image('1'));
    assert_eq!(cluster.ready_reason(), reasons::ROLLOUT_FAILED);

    // The next release goes through.
    cluster.target('3').play(|cluster| assert!(cluster.serving() >= 2));
    assert!(cluster.is_complete('3'));
}

#[test]
fn a_package_that_failed_ends_the_wait_at_once() {
    let mut cluster = Cluster::rolled("Stage", 1, 1);
    cluster.broken = Some("rev-2".into());
    cluster.target('2').play(|_| ());
    for pod in &mut cluster.world.pods {
        pod.hopeless = pod.tier == Tier::Publish;
        pod.problem = Some("failed wknd:ui.apps:1: no node type cq:Page".into());
    }
    cluster.play(|_| ());
    let rollout = cluster.world.environment.status.unwrap().rollout.unwrap();
    assert_eq!(rollout.state, RolloutState::Failed);
    assert!(rollout.message.contains("ui.apps"), "{}", rollout.message);
}

#[test]
fn whatever_dies_when_the_rollout_ends_well_and_pairs_never_mix() {
    for moment in 0..60 {
        for victim in 0..7 {
            let mut cluster = Cluster::rolled("Production", 2, 1);
            cluster.target('2');
            let mut at = 0;
            for _ in 0..500 {
                let acted = cluster.round();
                if at == moment && victim < cluster.world.pods.len() {
                    cluster.world.pods.remove(victim);
                }
                assert!(cluster.serving() >= 1, "pod {victim} killed at {moment}: nobody serves at {at}");
                at += 1;
                let happened = cluster.kubelet();
                if !acted && !happened && at > moment {
                    break;
                }
            }
            assert!(cluster.is_complete('2'), "pod {victim} killed at {moment}: {:?}", cluster.world.pods);
        }
    }
}

#[test]
fn a_crash_between_two_changes_of_a_round_is_repaired() {
    // Only the first change of every round is made, as if the operator died after it, again and again.
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.target('2');
    for _ in 0..500 {
        let plan = next(&cluster.world);
        let status = cluster.world.environment.status.clone();
        if plan.changes.len() > 1 {
            let first = plan.changes[0].clone();
            cluster.apply_one(first);
            cluster.world.environment.status = status;
            cluster.kubelet();
            continue;
        }
        let acted = cluster.round();
        if !cluster.kubelet() && !acted {
            break;
        }
    }
    assert!(cluster.is_complete('2'), "{:?} {:?}", cluster.phases, cluster.world.publish);
}

impl Cluster {
    fn apply_one(&mut self, change: Change) {
        let Desired::Release(desired) = self.world.desired.clone() else { panic!() };
        match change {
            Change::Service(name) => {
                self.world.services.insert(name.of("prod", &desired.revision));
            }
            Change::DeleteService(name) => {
                self.world.services.remove(&name);
            }
            Change::Workload { tier, replicas, partition } => {
                let revision = desired.revision.clone();
                let old =
                    self.slot(tier).replace(Workload { revision: revision.clone(), replicas, partition }).unwrap();
                if old.revision != revision && old.partition == 0 {
                    self.previous[index(tier)] = old.revision;
                }
            }
        }
    }
}

#[test]
fn pairs_are_added_together_and_taken_away_dispatcher_first() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.world.environment.spec.publish.replicas = 4;
    cluster.play(|cluster| assert!(cluster.serving() >= 2));
    assert!(cluster.is_complete('1'));
    cluster.world.environment.spec.publish.replicas = 1;
    cluster.play(|cluster| {
        let count = |tier| cluster.world.pods.iter().filter(|pod| pod.tier == tier).count();
        assert!(count(Tier::Publish) >= count(Tier::Dispatcher));
    });
    assert!(cluster.is_complete('1'));
}

#[test]
fn all_at_once_replaces_every_pod() {
    for pairs in [1, 3] {
        let mut cluster = Cluster::rolled("Stage", pairs, 1);
        cluster.target('2').play(|_| ());
        assert!(cluster.is_complete('2'), "{:?}", cluster.world.pods);
    }
}

#[test]
fn nothing_desired_and_nothing_known_change_nothing() {
    let mut cluster = Cluster::new("Production", 1, 1);
    let plan = next(&cluster.world);
    assert!(plan.changes.is_empty());
    cluster.world.desired = Desired::Unknown("registry away".into());
    let plan = next(&cluster.world);
    assert!(plan.changes.is_empty() && plan.wake.is_some());
}

#[test]
fn a_lock_whose_holder_is_gone_is_taken_away() {
    let mut cluster = Cluster::rolled("Stage", 1, 1);
    let lock =
        launchway_crds::environment::Lock { execution: "x".into(), uid: "u".into(), since: Time(cluster.world.now) };
    cluster.world.environment.status.as_mut().unwrap().lock = Some(lock.clone());
    assert_eq!(next(&cluster.world).status.lock, Some(lock));
    cluster.world.lock_holder_runs = false;
    assert_eq!(next(&cluster.world).status.lock, None);
}
