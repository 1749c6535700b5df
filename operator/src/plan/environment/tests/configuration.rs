//! Configuration objects: when they are made, and when they go.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{self, reasons, types},
    environment::{EnvironmentStatus, Lock, RolloutState, Tier},
};
use serde_json::json;

use super::cluster::{Cluster, image, revisions};
use crate::plan::environment::{
    Change, configuration_name, next,
    objects::{Cause, Deviation, Object},
    refused, rests_on_absence,
    world::Desired,
};

fn configured(cluster: &mut Cluster, hash: &str) {
    let Desired::Release(desired) = &mut cluster.world.desired else { panic!("nothing is desired") };
    desired.configuration = Tier::ALL.into_iter().map(|tier| (tier, hash.into())).collect();
}

#[test]
fn variables_are_there_before_any_pod_asks_for_them() {
    let mut cluster = Cluster::new("Production", 2, 1);
    cluster.target('1');
    configured(&mut cluster, "h1");
    let changes = next(&cluster.world).changes;
    for wanted in Tier::ALL {
        let made = changes.iter().position(|change| *change == Change::Configuration(wanted)).unwrap();
        let starts = |change: &Change| matches!(change, Change::Workload { tier, .. } if *tier == wanted);
        assert!(changes[..made].iter().all(|change| !starts(change)), "{wanted:?}: {changes:?}");
    }
}

#[test]
fn what_nothing_refers_to_goes_when_the_rollout_is_complete() {
    let mut cluster = Cluster::rolled("Production", 1, 1);
    configured(&mut cluster, "h2");
    for hash in ["h0", "h1", "h2"] {
        let names = Tier::ALL.map(|tier| configuration_name("prod", tier, hash));
        cluster.world.configurations.present.extend(names);
    }
    // A pod, or a template that is kept for a way back, still has h1.
    cluster.world.configurations.referred.insert(configuration_name("prod", Tier::Publish, "h1"));
    let mut gone = vec![];
    let plan = next(&cluster.world);
    assert!(rests_on_absence(&cluster.world, &plan), "what refers to one may only not have been in the list");
    for change in plan.changes {
        match change {
            Change::DeleteConfiguration(name) => gone.push(name),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(gone.len(), 5, "{gone:?}");
    assert!(gone.iter().all(|name| !name.contains("h2")) && !gone.contains(&"prod-publish-variables-h1".to_owned()));

    // In the middle of a rollout nothing goes.
    cluster.target('2');
    configured(&mut cluster, "h2");
    let plan = next(&cluster.world);
    assert!(plan.changes.iter().all(|change| !matches!(change, Change::DeleteConfiguration(_))));
    assert!(!rests_on_absence(&cluster.world, &plan));
}

#[test]
fn a_missing_secret_rolls_nothing_and_what_runs_goes_on() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    let why = "variable API_KEY: Secret api does not exist: create it, or correct spec.variables of the Environment";
    cluster.world.configurations.missing = Some(why.into());
    configured(&mut cluster, "h1");
    // The variables of what runs are known by name only, and are not made again.
    cluster.world.environment.spec.publish.replicas = 3;
    let plan = next(&cluster.world);
    assert!(plan.changes.iter().any(|change| matches!(change, Change::Workload { replicas: 3, .. })), "{plan:?}");
    assert!(plan.changes.iter().all(|change| !matches!(change, Change::Configuration(_))));
    cluster.play(|cluster| assert!(cluster.serving() >= 2));
    let status = cluster.world.environment.status.as_ref().unwrap();
    for (type_, value) in [(types::READY, "False"), (types::STALLED, "True")] {
        let told = conditions::get(&status.conditions, type_).unwrap();
        assert_eq!((told.status.as_str(), told.reason.as_str()), (value, reasons::CONFIGURATION_MISSING));
        assert_eq!(told.message, why);
    }

    // Something new cannot begin without it.
    cluster.target('2');
    cluster.world.desired = Desired::Unconfigured(why.into());
    let plan = next(&cluster.world);
    assert!(plan.changes.is_empty() && plan.wake.is_some());
    assert_eq!(conditions::get(&plan.status.conditions, types::READY).unwrap().reason, reasons::CONFIGURATION_MISSING);
}

const MISSING: &str = "variable API_KEY: Secret api does not exist";

/// A rollout to release 2, with the new author there.
fn begun(policy: &str) -> Cluster {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.set("/rollout/onFailure", json!(policy)).target('2');
    while cluster.world.author.as_ref().unwrap().revision != "rev-2" {
        assert!(cluster.round() | cluster.kubelet());
    }
    cluster
}

/// The same, and its Secret is gone.
fn interrupted(policy: &str) -> Cluster {
    let mut cluster = begun(policy);
    cluster.world.desired = Desired::Unconfigured(MISSING.into());
    cluster
}

fn later(cluster: &mut Cluster) {
    cluster.world.now = cluster.world.now.checked_add(SignedDuration::from_mins(16)).unwrap();
}

fn status(cluster: &mut Cluster) -> &mut EnvironmentStatus {
    cluster.world.environment.status.as_mut().unwrap()
}

#[test]
fn a_rollout_that_loses_a_secret_is_waited_for_as_long_as_a_phase_and_no_longer() {
    let mut held = interrupted("Hold");
    // What passed before the Secret was gone does not count.
    later(&mut held);
    held.play(|cluster| assert!(cluster.serving() >= 2));
    assert_eq!(held.state(), RolloutState::Progressing);
    later(&mut held);
    held.play(|cluster| assert!(cluster.serving() >= 2));
    assert_eq!((held.state(), held.ready_reason().as_str()), (RolloutState::Failed, reasons::CONFIGURATION_MISSING));
    let told = status(&mut held).rollout.clone().unwrap().message;
    assert!(told.ends_with(MISSING), "{told}");
    // That the Secret comes later is no reason to go on: its execution has ended.
    let failed = status(&mut held).clone();
    held.target('2');
    *status(&mut held) = failed;
    assert!(next(&held.world).changes.is_empty());

    let mut back = interrupted("Restore");
    back.play(|_| ());
    later(&mut back);
    back.play(|cluster| assert!(cluster.serving() >= 2));
    assert_eq!(back.state(), RolloutState::RolledBack);
    assert!(back.runs(&revisions('1', 0)));
    let restore = status(&mut back).restore.clone().unwrap();
    assert!(restore.cause.ends_with(MISSING) && restore.release == Some(image('2')), "{restore:?}");
}

#[test]
fn a_pause_that_was_ended_while_a_secret_is_missing_has_an_end() {
    let mut cluster = interrupted("Hold");
    status(&mut cluster).rollout.as_mut().unwrap().state = RolloutState::Paused;
    status(&mut cluster).target.as_mut().unwrap().pause_after = Some(1);
    later(&mut cluster);
    cluster.play(|_| ());
    assert_eq!(cluster.state(), RolloutState::Paused, "a person is waited for");
    status(&mut cluster).target.as_mut().unwrap().pause_after = None;
    cluster.play(|_| ());
    assert_eq!(cluster.state(), RolloutState::Progressing);
    later(&mut cluster);
    cluster.play(|_| ());
    assert_eq!(cluster.state(), RolloutState::Failed);
}

#[test]
fn a_release_that_never_began_is_not_rolled_out_after_its_execution_has_given_up() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.target('2');
    cluster.world.desired = Desired::Unconfigured(MISSING.into());
    let lock = Lock { execution: "wknd-2".into(), uid: "uid-2".into(), since: Time(cluster.world.now) };
    status(&mut cluster).lock = Some(lock);
    cluster.play(|_| ());
    assert_eq!(status(&mut cluster).target.as_ref().unwrap().release, image('2'));
    status(&mut cluster).lock = None;
    cluster.play(|_| ());
    assert_eq!(status(&mut cluster).target, None);
    assert!(cluster.runs(&revisions('1', 0)));
}

#[test]
fn a_refused_change_is_told_and_leaves_everything_else_where_it_was() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.target('2');
    let lock = Lock { execution: "wknd-2".into(), uid: "uid-2".into(), since: Time(cluster.world.now) };
    status(&mut cluster).lock = Some(lock);
    let before = cluster.world.environment.status.clone().unwrap();
    let why = "statefulsets.apps \"prod-author\" is forbidden: exceeded quota: program";
    let told = refused(&cluster.world, why);
    assert_eq!((&told.rollout, &told.target, &told.deployed), (&before.rollout, &before.target, &before.deployed));
    for (type_, value) in [(types::READY, "False"), (types::STALLED, "True"), (types::RECONCILING, "False")] {
        let condition = conditions::get(&told.conditions, type_).unwrap();
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), (value, reasons::CHANGE_REFUSED));
        assert_eq!(condition.message, why);
    }
    // Said once, it is not written again while nothing changes.
    cluster.world.environment.status = Some(told.clone());
    assert_eq!(refused(&cluster.world, why), told);
    // Nor with other numbers; who else is refused is told.
    let [first, next_try] = ["used: pods=3, limited: pods=3", "used: pods=4, limited: pods=3"];
    let [first, next_try] = [first, next_try].map(|numbers| format!("{why}, requested: pods=1, {numbers}"));
    let told_of = refused(&cluster.world, &first);
    assert_ne!(told_of, told);
    cluster.world.environment.status = Some(told_of.clone());
    assert_eq!(refused(&cluster.world, &next_try), told_of);
    cluster.world.environment.status = Some(told);
    assert_ne!(conditions::get(&next(&cluster.world).status.conditions, types::READY).unwrap().message, why);
}

/// A release whose changes are refused, and whose execution has it locked.
fn refused_with(cluster: &mut Cluster) {
    let lock = Lock { execution: "wknd-2".into(), uid: "uid-2".into(), since: Time(cluster.world.now) };
    status(cluster).lock = Some(lock);
    let why = "statefulsets.apps \"prod-publish\" is forbidden: exceeded quota: program";
    cluster.world.environment.status = Some(refused(&cluster.world, why));
}

#[test]
fn a_release_that_is_refused_is_not_rolled_out_after_its_execution_has_given_up() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.target('2');
    refused_with(&mut cluster);
    assert!(!next(&cluster.world).changes.is_empty(), "it is tried again as long as somebody waits");
    status(&mut cluster).lock = None;
    assert!(next(&cluster.world).changes.is_empty());
    cluster.play(|cluster| assert_eq!(cluster.serving(), 2));
    assert_eq!(status(&mut cluster).target, None);
    assert!(cluster.runs(&revisions('1', 0)));
    assert_eq!(cluster.ready_reason(), reasons::READY);
}

#[test]
fn a_rollout_that_is_refused_fails_or_goes_back_once_its_execution_has_given_up() {
    for (policy, state, letter) in
        [("Hold", RolloutState::Failed, None), ("Restore", RolloutState::RolledBack, Some('1'))]
    {
        let mut cluster = begun(policy);
        refused_with(&mut cluster);
        status(&mut cluster).lock = None;
        cluster.play(|cluster| assert!(cluster.serving() >= 2));
        assert_eq!(cluster.state(), state, "{policy}");
        assert!(letter.is_none_or(|letter| cluster.runs(&revisions(letter, 0))), "{policy}");
    }
}

#[test]
fn secrets_of_variables_are_read_again_within_a_minute() {
    let mut cluster = Cluster::rolled("Production", 1, 1);
    assert_eq!(next(&cluster.world).wake, None);
    let variable = json!({ "name": "API_KEY", "secretKeyRef": { "name": "api", "key": "key" } });
    cluster.world.environment.spec.variables = vec![serde_json::from_value(variable).unwrap()];
    let wake = next(&cluster.world).wake.unwrap();
    assert_eq!(wake.duration_since(cluster.world.now).as_secs(), 60);
}

#[test]
fn a_copy_that_somebody_made_anew_is_looked_at_until_it_is_right() {
    let mut cluster = Cluster::rolled("Production", 1, 1);
    let object = Object::ConfigMap("prod-publish-variables-0".into());
    cluster.world.deviations = vec![Deviation { object, cause: Cause::NotOurs(vec!["was made anew".into()]) }];
    let wake = next(&cluster.world).wake.unwrap();
    assert_eq!(wake.duration_since(cluster.world.now).as_secs(), 60);
}

/// Pods that serve the release before need the new value, too, and nothing but what was asked for last can bring it to them.
#[test]
fn a_secret_that_changes_is_rolled_out_with_a_release_that_is_held() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    (cluster.broken, cluster.broken_at) = (Some("rev-2".into()), Some((Tier::Publish, 2)));
    cluster.hopeless = true;
    let rotated = |cluster: &mut Cluster, letter| {
        let Desired::Release(desired) = &mut cluster.world.desired else { panic!("nothing is desired") };
        desired.revisions = revisions(letter, 0);
    };
    cluster.target('2').play(|cluster| assert!(cluster.serving() >= 2));
    assert_eq!(cluster.state(), RolloutState::Failed);

    // The new value does not help: it stops at the pair that is tried first, and stays there.
    rotated(&mut cluster, '3');
    cluster.broken = Some("rev-3".into());
    cluster.play(|cluster| assert!(cluster.serving() >= 2));
    let rollout = status(&mut cluster).rollout.clone().unwrap();
    assert_eq!((rollout.state, rollout.revision.as_str()), (RolloutState::Failed, "rev-3.0"));
    let pods = cluster.world.pods.clone();
    cluster.pass(60).play(|_| ());
    assert_eq!((cluster.state(), &cluster.world.pods), (RolloutState::Failed, &pods));

    // This one does.
    rotated(&mut cluster, '4');
    cluster.mend().play(|cluster| assert!(cluster.serving() >= 2));
    assert!(cluster.runs(&revisions('4', 0)), "{:?}", cluster.world.pods);
    assert_eq!(status(&mut cluster).deployed.as_ref().unwrap().release, image('2'));
}

#[test]
fn what_becomes_of_the_volume_is_changed_without_a_rollout() {
    let mut cluster = Cluster::rolled("Stage", 1, 1);
    cluster.set("/author", json!({ "storage": { "size": "1Gi", "retain": false } }));
    let changes = next(&cluster.world).changes;
    assert_eq!(changes, [Change::Workload { tier: Tier::Author, replicas: 1, partition: 0 }]);
    cluster.world.author.as_mut().unwrap().retains = false;
    assert!(next(&cluster.world).changes.is_empty());
}
