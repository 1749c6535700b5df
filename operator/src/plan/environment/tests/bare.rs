//! An Environment before anything was deployed to it.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{self, reasons, types},
    environment::{Lock, ReleaseImages, RolloutState},
};

use super::cluster::{Cluster, image};
use crate::plan::environment::{
    next,
    world::{Content, Desired, DesiredRelease, Revisions},
};

fn bare(letter: char) -> Desired {
    Desired::Release(Box::new(DesiredRelease {
        content: Content::Bare(ReleaseImages { aem: image('a'), dispatcher: image('d') }),
        revisions: Revisions { aem: format!("bare-{letter}"), dispatcher: format!("bare-{letter}.0") },
        configuration: BTreeMap::new(),
    }))
}

fn created(type_: &str, pairs: i32) -> Cluster {
    let mut cluster = Cluster::new(type_, pairs, 1);
    cluster.world.desired = bare('1');
    cluster
}

fn ready(cluster: &Cluster) -> (String, String) {
    let status = cluster.world.environment.status.as_ref().unwrap();
    let ready = conditions::get(&status.conditions, types::READY).unwrap();
    (ready.status.clone(), ready.reason.clone())
}

#[test]
fn base_images_run_until_a_release_comes_and_nothing_counts_as_deployed() {
    for (type_, pairs) in [("Production", 2), ("Stage", 1)] {
        let mut cluster = created(type_, pairs);
        cluster.play(|_| ());
        assert_eq!(ready(&cluster), ("True".into(), reasons::BARE.into()));
        assert_eq!(cluster.phases, ["Start", "Complete"]);
        let status = cluster.world.environment.status.as_ref().unwrap();
        assert_eq!((&status.deployed, &status.target, status.ready_replicas), (&None, &None, pairs));
        let plan = next(&cluster.world);
        assert!(plan.changes.is_empty() && plan.wake.is_none() && Some(&plan.status) == Some(status));
    }
}

#[test]
fn the_first_release_replaces_base_images_all_together() {
    for (type_, pairs) in [("Production", 2), ("Production", 1), ("Stage", 2)] {
        let mut cluster = created(type_, pairs);
        cluster.play(|_| ());
        cluster.phases.clear();
        cluster.target('1').play(|_| ());
        assert!(cluster.is_complete('1'), "{type_} {pairs}: {:?}", cluster.world.pods);
        assert_eq!(cluster.phases, ["Start", "Complete"], "{type_} {pairs}");
        assert!(cluster.world.services.iter().all(|name| !name.contains("bare")), "{:?}", cluster.world.services);
        // The second one is rolled pair by pair, as ever.
        cluster.phases.clear();
        cluster.target('2').play(|_| ());
        assert_eq!(cluster.phases.contains(&"Pair 1".to_string()), type_ == "Production");
    }
}

#[test]
fn a_release_that_comes_while_base_images_start_does_not_wait_for_them() {
    for moment in 0..20 {
        let mut cluster = created("Production", 2);
        for _ in 0..moment {
            cluster.round();
            cluster.kubelet();
        }
        cluster.target('1').play(|_| ());
        assert!(cluster.is_complete('1'), "after {moment}: {:?}", cluster.world.pods);
    }
}

#[test]
fn base_images_that_do_not_get_ready_are_a_failure_that_a_release_may_cure() {
    let mut cluster = created("Production", 1);
    cluster.broken = Some("bare-1".into());
    cluster.play(|_| ());
    assert_eq!(ready(&cluster), ("False".into(), reasons::ROLLING_OUT.into()));
    cluster.world.now = cluster.world.now.checked_add(SignedDuration::from_mins(16)).unwrap();
    cluster.play(|_| ());
    assert_eq!(ready(&cluster), ("False".into(), reasons::ROLLOUT_FAILED.into()));
    let rollout = cluster.world.environment.status.as_ref().unwrap().rollout.clone().unwrap();
    assert_eq!(rollout.state, RolloutState::Failed);
    cluster.target('1').play(|_| ());
    assert!(cluster.is_complete('1'));
}

#[test]
fn a_pod_that_dies_on_base_images_is_no_rollout() {
    let mut cluster = created("Production", 2);
    cluster.play(|_| ());
    cluster.world.pods.remove(1);
    cluster.round();
    assert_eq!(ready(&cluster), ("False".into(), reasons::DEGRADED.into()));
    cluster.world.now = cluster.world.now.checked_add(SignedDuration::from_mins(60)).unwrap();
    cluster.play(|_| ());
    assert_eq!(ready(&cluster), ("True".into(), reasons::BARE.into()));
}

#[test]
fn other_base_images_replace_those_that_run() {
    let mut cluster = created("Production", 2);
    cluster.play(|_| ());
    cluster.world.desired = bare('2');
    cluster.play(|_| ());
    assert_eq!(ready(&cluster), ("True".into(), reasons::BARE.into()));
    assert!(cluster.world.pods.iter().all(|pod| pod.revision.starts_with("bare-2")));
}

#[test]
fn a_first_execution_gets_a_head_start_that_ends() {
    let mut cluster = created("Production", 1);
    let begun = cluster.world.now;
    let after = |seconds| begun.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    cluster.world.environment.metadata.creation_timestamp = Some(Time(begun));
    assert!(next(&cluster.world).changes.is_empty());
    cluster.round();
    assert_eq!(ready(&cluster).1, reasons::NO_RELEASE);
    let plan = next(&cluster.world);
    assert_eq!((plan.wake, Some(&plan.status)), (Some(after(60)), cluster.world.environment.status.as_ref()));

    // An execution takes the Environment: it builds, and base images would be in its way.
    let lock = Lock { execution: "wknd-1".into(), uid: "u".into(), since: Time(after(50)) };
    cluster.world.environment.status.as_mut().unwrap().lock = Some(lock);
    cluster.world.now = after(120);
    assert!(next(&cluster.world).changes.is_empty());
    // Not for ever: it may wait for an approval for days.
    cluster.world.now = after(50 + 15 * 60);
    assert!(!next(&cluster.world).changes.is_empty());
    // Nor for one that is gone.
    cluster.world.now = after(120);
    cluster.world.lock_holder_runs = false;
    assert!(!next(&cluster.world).changes.is_empty());
}
