//! Rollouts, played against a small model of the StatefulSet controller.

#![allow(clippy::unwrap_used)]

#[path = "../../../tests/model/cluster.rs"]
mod cluster;

mod bare;
mod configuration;
mod deletion;
mod guard;
mod objects;
mod progress;
mod restore;
mod scale;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::reasons,
    deploy::Scope,
    environment::{ReleaseImages, RolloutState, Tier},
};

use self::cluster::{Cluster, image, revisions};
use super::{
    Change, ServiceName, next,
    objects::Further,
    world::{self, Desired},
};

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
fn a_rollout_writes_the_author_first_and_only_what_adds_is_made_together() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.target('2');
    let author = Change::Workload { tier: Tier::Author, replicas: 1, partition: 0 };
    assert_eq!(next(&cluster.world).changes, std::slice::from_ref(&author));
    let first = next(&Cluster::new("Production", 2, 1).target('1').world).changes;
    let at = first.iter().position(|change| *change == author).unwrap();
    let (needed, others) = first.split_at(at);
    for name in [ServiceName::Pods(Tier::Author), ServiceName::Author] {
        assert!(needed.contains(&Change::Service(name)), "{needed:?}");
    }
    assert!(others.contains(&Change::Service(ServiceName::Dispatcher)), "{others:?}");
    let (service, rule) = (Change::Service(ServiceName::Author), Change::Further(Further::Budget));
    assert!(service.goes_with(&rule) && rule.goes_with(&service));
    for alone in [author, Change::DeleteService("prod-old".into()), Change::DeleteFurther(Further::Budget)] {
        assert!(!service.goes_with(&alone) && !alone.goes_with(&service), "{alone:?}");
    }
}

#[test]
fn a_rollout_pauses_after_so_many_pairs_and_goes_on_when_it_may() {
    let pauses = |cluster: &Cluster| {
        let status = cluster.world.environment.status.as_ref().unwrap();
        status.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::Paused)
    };
    let target = |cluster: &mut Cluster, after: i32| {
        cluster.target('2');
        cluster.world.environment.status.as_mut().unwrap().target.as_mut().unwrap().pause_after = Some(after);
    };
    let mut cluster = Cluster::rolled("Production", 3, 1);
    target(&mut cluster, 1);
    cluster.play(|cluster| assert!(cluster.serving() >= 3));
    assert!(pauses(&cluster) && !cluster.is_complete('2'));
    assert_eq!(cluster.ready_reason(), reasons::PAUSED);
    assert_eq!(cluster.phases.last().unwrap(), "Pair 3");
    let on = |cluster: &Cluster, ordinal| cluster.world.pair_is_ready(ordinal, &revisions('2', 0));
    assert!(on(&cluster, 2) && !on(&cluster, 1) && !on(&cluster, 0), "one of three serves the new release");
    // However long it takes: nobody fails it but who was asked.
    cluster.world.now = cluster.world.now.checked_add(SignedDuration::from_hours(1000)).unwrap();
    cluster.play(|_| ());
    assert!(pauses(&cluster));
    cluster.world.environment.status.as_mut().unwrap().target.as_mut().unwrap().pause_after = None;
    cluster.play(|cluster| assert!(cluster.serving() >= 3));
    assert!(cluster.is_complete('2'));

    // With no pair behind it there is nothing to pause before.
    let mut all = Cluster::rolled("Production", 2, 1);
    target(&mut all, 2);
    assert!(all.play(|_| ()).is_complete('2'));
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
            if on(Tier::Dispatcher).is_some_and(|revision| revision == "rev-1.0") {
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
fn a_failure_names_the_pod_and_the_end_of_its_log_within_bounds() {
    let mut cluster = Cluster::rolled("Stage", 1, 1);
    cluster.broken = Some("rev-2".into());
    cluster.target('2').play(|_| ());
    for pod in &mut cluster.world.pods {
        pod.hopeless = pod.tier == Tier::Publish;
        pod.problem = Some(format!("failed wknd:ui.apps:1: {}", "x".repeat(2000)));
        pod.log = Some("OutOfMemoryError".into());
    }
    cluster.play(|_| ());
    let rollout = cluster.world.environment.status.unwrap().rollout.unwrap();
    let told = rollout.message;
    assert!(told.starts_with("prod-publish-0: failed wknd:ui.apps:1: x"), "{told}");
    assert!(told.ends_with("; the log of prod-publish-0 ends: OutOfMemoryError") && told.len() <= 1024, "{told}");
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
            cluster.change(&plan, 1);
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

/// `000` and `001` of the seeds, "Deployment to Non-Production": dispatchers leave the load balancer first, and come back when
/// everything is deployed.
#[test]
fn dispatchers_leave_before_publishes_are_replaced_and_come_back_when_all_are_ready() {
    for pairs in [1, 3] {
        let mut cluster = Cluster::rolled("Stage", pairs, 1);
        cluster.target('2').play(|cluster| {
            let of = |tier| cluster.world.pods.iter().filter(move |pod| pod.tier == tier);
            let moved = of(Tier::Publish).filter(|pod| pod.revision == "rev-2").count();
            let old = of(Tier::Publish).count() < usize::try_from(pairs).unwrap() || moved > 0;
            assert!(!old || of(Tier::Dispatcher).all(|pod| pod.revision == "rev-2.0"), "{:?}", cluster.world.pods);
            let all = of(Tier::Publish).filter(|pod| pod.revision == "rev-2" && pod.ready).count();
            let back = of(Tier::Dispatcher).any(|pod| pod.revision == "rev-2.0");
            assert!(!back || all == usize::try_from(pairs).unwrap(), "{:?}", cluster.world.pods);
        });
        assert!(cluster.is_complete('2'));
        assert_eq!(cluster.phases, ["Detach", "AllAtOnce", "Complete"]);
    }
}

#[test]
fn without_detaching_every_pod_is_replaced_in_one_go() {
    let mut cluster = Cluster::rolled("Stage", 2, 1);
    cluster.target('2');
    cluster.world.environment.status.as_mut().unwrap().target.as_mut().unwrap().detach = false;
    cluster.round();
    assert!(Tier::ALL.iter().all(|tier| cluster.world.workload(*tier).unwrap().revision.starts_with("rev-2")));
    cluster.play(|_| ());
    assert!(cluster.is_complete('2'));
    assert_eq!(cluster.phases, ["AllAtOnce", "Complete"]);
}

#[test]
fn the_same_release_again_replaces_nothing_unless_caches_are_to_be_emptied() {
    for (type_, pairs) in [("Production", 1), ("Production", 3), ("Stage", 1), ("Stage", 2)] {
        let mut cluster = Cluster::rolled(type_, pairs, 1);
        let before = cluster.world.pods.clone();
        cluster.target('1').play(|cluster| assert_eq!(cluster.world.pods, before));
        assert!(cluster.is_complete('1'));

        let serve = usize::try_from(pairs).unwrap();
        cluster.phases.clear();
        cluster.flush('1', 1).play(|cluster| {
            let publishes = |pods: &[world::Pod]| -> Vec<_> {
                pods.iter().filter(|pod| pod.tier == Tier::Publish && pod.ordinal < pairs).cloned().collect()
            };
            assert_eq!(publishes(&cluster.world.pods), publishes(&before), "a publish is replaced for its dispatcher");
            assert!(type_ == "Stage" || cluster.serving() >= serve, "{:?}", cluster.world.pods);
        });
        assert!(cluster.is_complete_on('1', &revisions('1', 1)), "{:?}", cluster.world.pods);
        let cache = cluster.world.environment.status.as_ref().unwrap().deployed.as_ref().unwrap().cache.clone();
        assert_eq!(cache.map(|cache| cache.uid).as_deref(), Some("uid-1-1"));
    }
}

#[test]
fn dispatchers_that_change_in_the_middle_of_a_rollout_are_replaced_one_by_one() {
    for moment in 0..80 {
        let mut cluster = Cluster::rolled("Production", 3, 1);
        cluster.target('2');
        for _ in 0..moment {
            cluster.round();
            cluster.kubelet();
        }
        cluster.flush('2', 1).play(|cluster| assert!(cluster.serving() >= 2, "at {moment}: {:?}", cluster.world.pods));
        // A pair whose dispatcher was replaced and whose publish was not is waited for, half-way to the deadline of every step.
        for _ in 0..3 {
            cluster.world.now = cluster.world.now.checked_add(SignedDuration::from_secs(460)).unwrap();
            cluster.play(|cluster| assert!(cluster.serving() >= 2, "at {moment}: {:?}", cluster.world.pods));
        }
        assert!(cluster.is_complete_on('2', &revisions('2', 1)), "at {moment}: {:?}", cluster.world.pods);
    }
}

#[test]
fn a_target_brings_what_is_in_its_scope_and_leaves_the_rest() {
    let mut cluster = Cluster::rolled("Stage", 1, 1);
    let ask = |cluster: &mut Cluster, letter: char, scope| {
        let images = ReleaseImages { aem: image(letter), dispatcher: image(letter) };
        cluster.target(letter);
        let status = cluster.world.environment.status.as_mut().unwrap();
        let target = status.target.as_mut().unwrap();
        (target.images, target.scope) = (images, scope);
        cluster.play(|_| ());
        cluster.world.environment.status.clone().unwrap().deployed.unwrap()
    };
    let web = ask(&mut cluster, '2', Scope::Dispatcher);
    assert_eq!((&web.images.aem, &web.images.dispatcher), (&image('a'), &image('2')));
    assert_eq!((&web.release, web.web_tier.as_ref().map(|origin| &origin.release)), (&image('1'), Some(&image('2'))));
    assert!(web.is_of("uid-2", &image('2')) && web.is_of("uid-1", &image('1')));

    let full = ask(&mut cluster, '3', Scope::Aem);
    assert_eq!((&full.images.aem, &full.images.dispatcher), (&image('3'), &image('2')));
    assert_eq!((&full.release, full.web_tier), (&image('3'), web.web_tier));

    let back = ask(&mut cluster, '1', Scope::Release);
    assert_eq!((&back.images.dispatcher, back.web_tier), (&image('1'), None));
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
