//! The way back, played against the small model of the StatefulSet controller.

use launchway_crds::{
    conditions::{self, reasons, types},
    environment::{EnvironmentStatus, RolloutState, Tier},
};
use serde_json::json;

use super::{
    cluster::{Cluster, image, revisions},
    world,
};
use crate::plan::environment::{
    Change, Templates, aim, next,
    objects::{Cause, Deviation, Object},
    rests_on_absence,
};

/// An Environment on release 1 whose release 2 fails at a pod.
fn failing(pairs: i32, surge: i32, at: (Tier, i32)) -> Cluster {
    let mut cluster = Cluster::rolled("Production", pairs, surge);
    cluster.set("/rollout/onFailure", json!("Restore"));
    cluster.broken = Some("rev-2".into());
    (cluster.broken_at, cluster.hopeless) = (Some(at), true);
    cluster.target('2');
    cluster
}

fn status(cluster: &Cluster) -> &EnvironmentStatus {
    cluster.world.environment.status.as_ref().unwrap()
}

fn assert_back(cluster: &Cluster) {
    let status = status(cluster);
    assert_eq!(cluster.state(), RolloutState::RolledBack, "{:?} {:?}", cluster.phases, status.rollout);
    assert!(cluster.runs(&revisions('1', 0)), "{:?}", cluster.world.pods);
    assert_eq!((status.deployed.as_ref().unwrap().release.clone(), &status.target), (image('1'), &None));
    let restore = status.restore.as_ref().unwrap();
    assert_eq!((restore.uid.as_deref(), &restore.release), (Some("uid-2"), &Some(image('2'))));
    assert!(cluster.world.services.iter().all(|name| !name.contains("rev-2")), "{:?}", cluster.world.services);
    let ready = conditions::get(&status.conditions, types::READY).unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", reasons::ROLLED_BACK));
}

#[test]
fn what_ran_before_comes_back_wherever_the_release_failed() {
    for pairs in [1, 2, 4] {
        let places = (0..=pairs).map(|ordinal| (Tier::Publish, ordinal)).chain([(Tier::Author, 0)]);
        for at in places.chain([(Tier::Dispatcher, pairs), (Tier::Dispatcher, 0)]) {
            let mut cluster = failing(pairs, 1, at);
            cluster.play(|cluster| {
                let serving = cluster.serving();
                assert!(serving >= usize::try_from(pairs).unwrap(), "{at:?} of {pairs}: {serving} serve");
            });
            assert_back(&cluster);
            let cause = &status(&cluster).restore.as_ref().unwrap().cause;
            let pod = format!("prod-{}-{}: failed wknd:ui.apps", at.0.as_str(), at.1);
            assert!(cause.contains(&pod), "{cause}");

            // The next release goes through, and nothing tells of the old failure any more.
            cluster.mend().target('3').play(|_| ());
            assert!(cluster.is_complete('3'));
            assert_eq!(status(&cluster).restore, None);
        }
    }
}

#[test]
fn a_surge_pair_that_failed_simply_goes() {
    let mut cluster = failing(2, 1, (Tier::Publish, 2));
    let started =
        |cluster: &Cluster| cluster.world.pods.iter().any(|pod| pod.ordinal >= 2 && pod.revision.starts_with("rev-1"));
    cluster.play(|cluster| {
        assert!(!started(cluster), "the pair that goes is started once more: {:?}", cluster.world.pods);
        let count = |tier| cluster.world.pods.iter().filter(|pod| pod.tier == tier).count();
        let going = cluster.world.environment.status.as_ref().is_some_and(|status| status.restore.is_some());
        assert!(!going || count(Tier::Dispatcher) <= count(Tier::Publish), "a publish left before its dispatcher");
    });
    assert_back(&cluster);
}

#[test]
fn without_surge_two_pairs_are_away_at_most() {
    for at in 0..3 {
        let mut cluster = failing(3, 0, (Tier::Publish, at));
        cluster.play(|cluster| assert!(cluster.serving() >= 1, "{:?}", cluster.world.pods));
        assert_back(&cluster);
    }
}

#[test]
fn all_at_once_comes_back_all_at_once() {
    for pairs in [1, 3] {
        let mut cluster = Cluster::rolled("Stage", pairs, 1);
        cluster.set("/rollout/onFailure", json!("Restore"));
        (cluster.broken, cluster.hopeless) = (Some("rev-2".into()), true);
        cluster.target('2').play(|_| ());
        assert_back(&cluster);
    }
}

#[test]
fn a_deadline_that_passes_restores_too_and_the_way_back_has_its_own_time() {
    let mut cluster = failing(2, 1, (Tier::Publish, 1));
    cluster.hopeless = false;
    cluster.play(|_| ());
    assert_eq!(cluster.state(), RolloutState::Progressing);
    cluster.pass(16).round();
    assert_eq!(cluster.state(), RolloutState::RollingBack);
    assert_eq!(cluster.ready_reason(), reasons::ROLLING_BACK);
    cluster.play(|_| ());
    assert_back(&cluster);
    assert!(status(&cluster).restore.as_ref().unwrap().cause.contains("not ready within 15m"));
}

#[test]
fn a_way_back_that_fails_is_held_and_never_tried_again() {
    let mut cluster = failing(2, 1, (Tier::Author, 0));
    while cluster.world.environment.status.as_ref().unwrap().restore.is_none() {
        assert!(cluster.round() | cluster.kubelet());
    }
    (cluster.broken, cluster.broken_at) = (Some("rev-1".into()), Some((Tier::Author, 0)));
    cluster.play(|cluster| assert!(cluster.serving() >= 2));
    assert_eq!(cluster.state(), RolloutState::Failed);
    let told = status(&cluster).rollout.as_ref().unwrap().message.clone();
    assert!(
        told.starts_with("what ran before does not come back: prod-author-0") && told.contains("because Author"),
        "{told}"
    );
    let before = cluster.world.clone();
    cluster.pass(600).play(|_| ());
    assert_eq!((&cluster.world.author, &cluster.world.publish), (&before.author, &before.publish));
    assert_eq!(cluster.ready_reason(), reasons::ROLLOUT_FAILED);

    cluster.mend().target('3').play(|cluster| assert!(cluster.serving() >= 2));
    assert!(cluster.is_complete('3'));
}

#[test]
fn a_spec_that_failed_is_not_rolled_out_again_and_what_runs_heals_and_grows() {
    let mut cluster = failing(2, 1, (Tier::Publish, 2));
    cluster.world.environment.status.as_mut().unwrap().target = None;
    cluster.edit('2').play(|cluster| assert!(cluster.serving() >= 2));
    assert_eq!(cluster.state(), RolloutState::RolledBack);
    assert!(cluster.runs(&revisions('1', 0)));
    let stalled = conditions::get(&status(&cluster).conditions, types::STALLED).unwrap().clone();
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", reasons::ROLLED_BACK));
    assert_eq!(status(&cluster).restore.as_ref().unwrap().uid, None);

    cluster.world.environment.spec.publish.replicas = 3;
    cluster.world.pods.remove(1);
    cluster.play(|_| ());
    assert_eq!(cluster.state(), RolloutState::RolledBack);
    assert!(cluster.runs(&revisions('1', 0)), "{:?}", cluster.world.pods);

    cluster.edit('3').play(|cluster| assert!(cluster.serving() >= 3));
    assert!(cluster.runs(&revisions('3', 0)));
    assert_eq!((cluster.state(), &status(&cluster).restore), (RolloutState::Complete, &None));
}

#[test]
fn dispatchers_that_failed_alone_come_back_alone() {
    for (pairs, at) in [(1, 1), (2, 2), (2, 1), (2, 0), (3, 1)] {
        let mut cluster = Cluster::rolled("Production", pairs, 1);
        cluster.set("/rollout/onFailure", json!("Restore"));
        cluster.flush('1', 1);
        (cluster.broken, cluster.broken_at) = (Some("rev-1".into()), Some((Tier::Dispatcher, at)));
        let old: Vec<_> = cluster.world.pods.iter().map(|pod| (pod.tier, pod.ordinal)).collect();
        cluster.hopeless = true;
        // Only the new dispatcher of that ordinal fails: once the way back began, nothing does.
        while cluster.world.environment.status.as_ref().is_none_or(|status| status.restore.is_none()) {
            let new = |pod: &world::Pod| pod.tier == Tier::Dispatcher && pod.revision == "rev-1.1" && pod.ordinal == at;
            let there = cluster.world.pods.iter().any(new);
            cluster.broken = there.then(|| "rev-1".into());
            assert!(cluster.round() | cluster.kubelet(), "{at} of {pairs}: {:?}", cluster.phases);
        }
        cluster.mend();
        cluster.play(|cluster| {
            assert!(cluster.serving() >= usize::try_from(pairs).unwrap(), "{at} of {pairs}: {:?}", cluster.world.pods);
            let publishes = cluster.world.pods.iter().filter(|pod| pod.tier == Tier::Publish && pod.ordinal < pairs);
            assert!(publishes.clone().all(|pod| pod.revision == "rev-1" && pod.ready), "a publish was replaced");
        });
        assert_eq!(cluster.state(), RolloutState::RolledBack, "{at} of {pairs}: {:?}", cluster.phases);
        assert!(cluster.runs(&revisions('1', 0)), "{:?}", cluster.world.pods);
        assert_eq!(cluster.world.pods.len(), old.len());
    }
}

#[test]
fn variables_that_are_missing_after_the_way_back_are_told_and_what_runs_stays() {
    let mut cluster = failing(2, 1, (Tier::Publish, 2));
    cluster.play(|_| ());
    assert_back(&cluster);
    cluster.world.configurations.missing = Some("variable API_KEY: Secret api does not exist".into());
    cluster.play(|_| ());
    assert_eq!(
        (cluster.ready_reason(), cluster.state()),
        (reasons::CONFIGURATION_MISSING.into(), RolloutState::RolledBack)
    );
    assert!(cluster.runs(&revisions('1', 0)));
}

#[test]
fn somebody_who_changes_a_workload_on_the_way_back_brings_nothing_back_out_of_turn() {
    let mut cluster = failing(2, 1, (Tier::Publish, 0));
    while cluster.world.environment.status.as_ref().unwrap().restore.is_none() {
        assert!(cluster.round() | cluster.kubelet());
    }
    let told = aim(&cluster.world).unwrap();
    assert_eq!((told.release.revisions, told.templates), (revisions('1', 0), Templates::Kept));
    // What is compared are workloads that are back: author first.
    while cluster.world.author.as_ref().unwrap().revision != "rev-1" {
        assert!(cluster.round() | cluster.kubelet());
    }
    let cause = Cause::Edited(vec!["spec.template".into()]);
    cluster.world.deviations = vec![Deviation { object: Object::Workload(Tier::Author), cause }];
    let changes = super::next(&cluster.world).changes;
    let known = cluster.world.author.clone().unwrap();
    let back = Change::Workload { tier: Tier::Author, replicas: known.replicas, partition: known.partition };
    assert!(changes.contains(&back), "{changes:?}");
    cluster.world.deviations.clear();
    cluster.play(|cluster| assert!(cluster.serving() >= 1));
    assert_back(&cluster);
    assert_eq!(aim(&cluster.world).unwrap().templates, Templates::Rendered, "it is what is asked for");
}

#[test]
fn a_changed_spec_does_not_bring_a_release_that_failed_back() {
    let mut cluster = failing(2, 1, (Tier::Publish, 2));
    cluster.play(|_| ());
    assert_back(&cluster);
    cluster.edit('3').play(|_| ());
    assert_eq!(status(&cluster).deployed.as_ref().unwrap().release, image('1'));
    assert!(cluster.runs(&revisions('3', 0)));
}

#[test]
fn who_changes_the_policy_afterwards_means_the_failure_that_is_held() {
    let mut cluster = failing(2, 1, (Tier::Publish, 1));
    cluster.set("/rollout/onFailure", json!("Hold")).play(|_| ());
    assert_eq!((cluster.state(), &status(&cluster).restore), (RolloutState::Failed, &None));
    cluster.set("/rollout/onFailure", json!("Restore")).play(|_| ());
    assert_back(&cluster);
}

#[test]
fn what_cannot_come_back_is_held_and_says_why() {
    let refused = |prepare: &dyn Fn(&mut Cluster), why: &str| {
        let mut cluster = failing(2, 1, (Tier::Publish, 2));
        prepare(&mut cluster);
        cluster.play(|_| ());
        assert_eq!(cluster.state(), RolloutState::Failed, "{why}");
        let unsure = rests_on_absence(&cluster.world, &next(&cluster.world));
        assert_eq!(unsure, why.contains("does not keep"), "{why}");
        let told = &status(&cluster).rollout.as_ref().unwrap().message;
        assert!(told.contains("prod-publish-2: failed") && told.contains(why), "{told}");
    };
    let volume = |policy: &'static str| {
        move |cluster: &mut Cluster| {
            cluster.set("/author", json!({ "storage": { "size": "1Gi", "olderReleases": policy } }));
        }
    };
    refused(&volume("Refuse"), "not restored: the author keeps its repository on a volume");
    refused(
        &|cluster| {
            cluster.world.kept.clear();
        },
        "not restored: the cluster does not keep the templates of rev-1",
    );
    let mut accepted = failing(2, 1, (Tier::Publish, 2));
    volume("Accept")(&mut accepted);
    accepted.play(|_| ());
    assert_back(&accepted);

    let mut first = Cluster::new("Production", 2, 1);
    first.set("/rollout/onFailure", json!("Restore"));
    (first.broken, first.hopeless) = (Some("rev-1".into()), true);
    first.target('1').play(|_| ());
    assert!(status(&first).rollout.as_ref().unwrap().message.contains("nothing was deployed here before"));
}

#[test]
fn templates_that_vanish_on_the_way_back_end_it() {
    let mut cluster = failing(2, 1, (Tier::Author, 0));
    while cluster.world.environment.status.as_ref().unwrap().restore.is_none() {
        assert!(cluster.round() | cluster.kubelet());
    }
    let rests = |cluster: &Cluster| rests_on_absence(&cluster.world, &next(&cluster.world));
    assert!(!rests(&cluster));
    cluster.world.kept.clear();
    assert!(rests(&cluster), "whether they are gone is read for sure before that is said");
    cluster.play(|_| ());
    assert_eq!(cluster.state(), RolloutState::Failed);
    assert!(status(&cluster).rollout.as_ref().unwrap().message.contains("the templates of rev-1.0 are gone"));
}

#[test]
fn the_record_stays_until_the_execution_that_it_is_about_has_ended() {
    let mut cluster = failing(2, 1, (Tier::Publish, 2));
    let lock: launchway_crds::environment::Lock =
        serde_json::from_value(json!({ "execution": "wknd-2", "uid": "uid-2", "since": "2026-11-21T10:00:00Z" }))
            .unwrap();
    cluster.world.environment.status.as_mut().unwrap().lock = Some(lock);
    cluster.play(|_| ());
    assert_back(&cluster);
    // A changed spec rolls out and completes, or fails: the execution still has to learn that its release went back.
    cluster.broken = Some("rev-3".into());
    cluster.edit('3').play(|_| ());
    assert_eq!(cluster.state(), RolloutState::Failed);
    assert_eq!(status(&cluster).restore.as_ref().unwrap().uid.as_deref(), Some("uid-2"));
    cluster.mend().edit('1').play(|_| ());
    assert_eq!(cluster.state(), RolloutState::Complete);
    assert_eq!(status(&cluster).restore.as_ref().unwrap().uid.as_deref(), Some("uid-2"));
    cluster.world.lock_holder_runs = false;
    cluster.play(|_| ());
    assert_eq!(status(&cluster).restore, None);
}

#[test]
fn whatever_dies_when_everything_comes_back() {
    for at in [(Tier::Publish, 2), (Tier::Publish, 1), (Tier::Publish, 0), (Tier::Author, 0)] {
        for moment in (0..90).step_by(3) {
            for victim in 0..9 {
                let mut cluster = failing(2, 1, at);
                let mut step = 0;
                while !(step > moment
                    && cluster.state() == RolloutState::RolledBack
                    && cluster.runs(&revisions('1', 0)))
                {
                    let acted = cluster.round();
                    if step == moment && victim < cluster.world.pods.len() {
                        cluster.world.pods.remove(victim);
                    }
                    assert!(cluster.serving() >= 1, "{at:?}, pod {victim} killed at {moment}: nobody serves at {step}");
                    step += 1;
                    if !cluster.kubelet() && !acted && step > moment {
                        // A pair that was away is waited for half of the time.
                        cluster.pass(8);
                    }
                    assert!(
                        step < 600,
                        "{at:?}, pod {victim} killed at {moment}: {:?} {:?}",
                        cluster.phases,
                        cluster.world.pods
                    );
                }
            }
        }
    }
}

#[test]
fn an_operator_that_dies_after_every_change_comes_back_as_well() {
    for at in [(Tier::Publish, 2), (Tier::Publish, 1), (Tier::Publish, 0), (Tier::Author, 0)] {
        let mut cluster = failing(2, 1, at);
        for _ in 0..800 {
            let plan = super::next(&cluster.world);
            if plan.changes.len() > 1 {
                cluster.change(&plan, 1);
                cluster.kubelet();
                continue;
            }
            let acted = cluster.round();
            assert!(cluster.serving() >= 2, "{at:?}: {:?}", cluster.world.pods);
            if !cluster.kubelet() && !acted {
                break;
            }
        }
        assert_back(&cluster);
    }
}
