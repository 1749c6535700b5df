//! The metric guard, played against the small model of the StatefulSet controller with counters that a test makes up.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use launchway_crds::{
    conditions::reasons,
    environment::{RolloutState, RolloutStatus, Tier},
    guard::{Counters, Figures, Verdict, Watch},
};
use serde_json::json;

use super::cluster::{Cluster, image, revisions};
use crate::plan::environment::{
    next,
    objects::{Cause, Deviation, Further, Object},
    watch,
    world::Silent,
};

type Counted = BTreeMap<i32, Result<Counters, Silent>>;

/// What dispatchers of two pairs and a surge pair have counted when the first watch begins: those of the previous release
/// serve for days, and not well.
const BEFORE: [(i32, Counters); 3] = [(0, of(90_000, 9_000, 5)), (1, of(80_000, 8_000, 5)), (2, of(30, 30, 900))];

const fn of(requests: i64, errors: i64, mean: i64) -> Counters {
    Counters { requests, errors, milliseconds: requests * mean }
}

/// The same after each has counted something more.
fn after(more: [Counters; 3]) -> Counted {
    let sum = |a: Counters, b: Counters| Counters {
        requests: a.requests + b.requests,
        errors: a.errors + b.errors,
        milliseconds: a.milliseconds + b.milliseconds,
    };
    BEFORE.into_iter().zip(more).map(|((ordinal, before), more)| (ordinal, Ok(sum(before, more)))).collect()
}

fn serve(cluster: &Cluster) {
    assert!(cluster.serving() >= 2, "{:?}", cluster.world.pods);
}

/// Two pairs on release 1, and release 2 that is watched on its surge pair.
fn watched(rollout: &serde_json::Value) -> Cluster {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    let mut spec = json!({ "surge": 1, "guard": {} });
    spec.as_object_mut().unwrap().extend(rollout.as_object().unwrap().clone());
    cluster.set("/rollout", spec);
    cluster.world.counters = Some(after([of(0, 0, 0); 3]));
    cluster.target('2').play(serve);
    assert_eq!(cluster.phases, ["Author", "Surge", "Watch Surge"]);
    cluster
}

/// Lets seconds pass; then the dispatchers are asked, as the plan wants it, and have counted this.
fn pass(cluster: &mut Cluster, seconds: i64, counted: Counted) {
    cluster.world.now = cluster.world.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    cluster.world.counters = None;
    let plan = next(&cluster.world);
    assert!(watch::is_on(&plan), "{:?}", plan.status.rollout);
    assert_eq!(plan.changes, [], "nothing is touched before they are asked");
    cluster.world.counters = Some(counted);
    cluster.play(serve);
}

fn rollout(cluster: &Cluster) -> RolloutStatus {
    cluster.world.environment.status.clone().unwrap().rollout.unwrap()
}

fn seen(cluster: &Cluster) -> Watch {
    rollout(cluster).watch.unwrap()
}

#[test]
fn a_pair_that_serves_is_watched_before_the_next_is_touched() {
    let mut cluster = watched(&json!({}));
    let begun = seen(&cluster);
    assert_eq!((begun.pair.as_str(), begun.baseline.len(), &begun.result), ("Surge", 3, &None));
    let (pods, status) = (cluster.world.pods.clone(), cluster.world.environment.status.clone());
    let good = || after([of(600, 60, 5), of(400, 40, 5), of(500, 5, 20)]);
    pass(&mut cluster, 119, good());
    assert_eq!(cluster.world.pods, pods);
    assert_eq!(cluster.world.environment.status, status, "nothing is written while it goes on");
    assert_eq!(next(&cluster.world).wake, Some(cluster.world.now + SignedDuration::from_secs(1)));
    pass(&mut cluster, 1, good());
    assert_eq!(cluster.phases[3..], ["Pair 2", "Watch Pair 2"]);
    pass(&mut cluster, 120, after([of(1600, 160, 5), of(700, 40, 5), of(1500, 5, 20)]));
    assert!(cluster.is_complete('2'), "{:?}", rollout(&cluster));
    assert_eq!(cluster.phases[5..], ["Pair 1", "Settle", "Complete"], "nothing is left to compare the last pair with");
    let Watch { pair, baseline, result, .. } = seen(&cluster);
    let result = result.unwrap();
    assert_eq!((pair.as_str(), baseline.len(), result.verdict), ("Pair 2", 0, Verdict::Good));
    assert_eq!(result.new, Figures { requests: 1300, errors: 0, mean_milliseconds: 16 });
    assert_eq!(result.previous, Figures { requests: 1000, errors: 100, mean_milliseconds: 5 });
}

#[test]
fn a_release_that_does_worse_stops_at_once_where_it_is() {
    let mut cluster = watched(&json!({}));
    let before = cluster.world.pods.clone();
    pass(&mut cluster, 20, after([of(600, 6, 5), of(400, 4, 5), of(100, 30, 5)]));
    let told = rollout(&cluster);
    assert_eq!((told.state, told.phase.as_str()), (RolloutState::Failed, "Watch Surge"));
    let words = "30.0 % of 100 requests to the new release failed, 1.0 % of 1000 requests to the previous one";
    assert!(told.message.contains(words), "{}", told.message);
    assert_eq!(cluster.world.pods, before, "no further pair is touched");
    assert_eq!(cluster.ready_reason(), reasons::ROLLOUT_FAILED);
    let result = seen(&cluster).result.unwrap();
    assert_eq!((result.verdict, result.new.errors, result.message.contains(words)), (Verdict::Worse, 30, true));
    cluster.world.counters = None;
    assert!(!watch::is_on(&next(&cluster.world)), "nobody is asked about what is decided");

    // The next release is watched from the beginning.
    cluster.phases.clear();
    cluster.world.counters = Some(after([of(0, 0, 0); 3]));
    cluster.target('3').play(serve);
    assert_eq!((seen(&cluster).result, cluster.phases.last().map(String::as_str)), (None, Some("Watch Surge")));
}

#[test]
fn with_restore_what_ran_before_comes_back_unwatched_and_the_record_says_what_was_seen() {
    let mut cluster = watched(&json!({ "onFailure": "Restore" }));
    pass(&mut cluster, 120, after([of(600, 6, 5), of(400, 4, 5), of(2000, 0, 300)]));
    assert_eq!(cluster.state(), RolloutState::RolledBack, "{:?}", rollout(&cluster));
    assert!(cluster.runs(&revisions('1', 0)), "{:?}", cluster.world.pods);
    let status = cluster.world.environment.status.clone().unwrap();
    assert_eq!(status.deployed.unwrap().release, image('1'));
    let cause = status.restore.unwrap().cause;
    let words = "Watch Surge: the new release answers in 300 ms in the mean, the previous one in 5 ms";
    assert!(cause.contains(words), "{cause}");
    assert_eq!(seen(&cluster).result.unwrap().verdict, Verdict::Worse);
    assert_eq!(cluster.phases.iter().filter(|phase| phase.starts_with("Watch")).count(), 1, "{:?}", cluster.phases);
}

#[test]
fn with_nothing_to_judge_the_guard_says_what_follows() {
    let few = || after([of(600, 0, 5), of(400, 0, 5), of(99, 99, 5)]);
    let silent = |why: Silent| {
        let mut counted = after([of(600, 0, 5), of(400, 0, 5), of(500, 0, 5)]);
        counted.insert(2, Err(why));
        counted
    };
    let away = || silent(Silent::Away("time-out".into()));
    for (counted, at, part) in [
        (few(), 120, "answered 99 requests, and 100 are needed"),
        (away(), 180, "prod-dispatcher-2 does not say what it counted (time-out)"),
    ] {
        for policy in ["Continue", "Fail"] {
            let mut cluster = watched(&json!({ "guard": { "withoutData": policy } }));
            pass(&mut cluster, at - 1, counted.clone());
            assert_eq!(rollout(&cluster).phase, "Watch Surge");
            pass(&mut cluster, 1, counted.clone());
            let told = rollout(&cluster);
            if policy == "Continue" {
                assert_eq!((told.state, told.phase.as_str()), (RolloutState::Progressing, "Watch Pair 2"));
                continue;
            }
            assert_eq!((told.state, told.phase.as_str()), (RolloutState::Failed, "Watch Surge"));
            let result = told.watch.unwrap().result.unwrap();
            assert!(result.verdict == Verdict::NoData && result.message.contains(part), "{result:?}");
            assert!(told.message.contains(part), "{}", told.message);
        }
    }
}

#[test]
fn a_base_image_without_counters_is_not_waited_for() {
    for (policy, state) in [("Continue", RolloutState::Complete), ("Fail", RolloutState::Failed)] {
        let mut cluster = Cluster::rolled("Production", 2, 1);
        cluster.set("/rollout", json!({ "surge": 1, "guard": { "withoutData": policy } }));
        let mut counted = after([of(0, 0, 0); 3]);
        counted.extend([1, 2].map(|ordinal| (ordinal, Err(Silent::NoPort))));
        cluster.world.counters = Some(counted);
        cluster.target('2').play(serve);
        assert_eq!(cluster.state(), state, "{:?}", rollout(&cluster));
        let result = seen(&cluster).result.unwrap();
        assert!(result.message.contains("its image has no dev.launchway.metrics-port"), "{result:?}");
    }
    // That the previous release counted nothing leaves the new one held to no errors of its own.
    let mut counted = after([of(0, 0, 0), of(0, 0, 0), of(1000, 11, 5)]);
    counted.extend([0, 1].map(|ordinal| (ordinal, Err(Silent::NoPort))));
    let mut cluster = watched(&json!({}));
    pass(&mut cluster, 120, counted);
    let told = rollout(&cluster);
    assert!(told.message.contains("too few requests to the previous one"), "{}", told.message);
}

#[test]
fn containers_that_start_again_and_dispatchers_without_a_baseline_are_no_reason_to_judge_wrongly() {
    let mut cluster = watched(&json!({}));
    let status = cluster.world.environment.status.as_mut().unwrap();
    // It did not answer when the watch began: what it counted since then is not known.
    status.rollout.as_mut().unwrap().watch.as_mut().unwrap().baseline.retain(|before| before.ordinal != 1);
    let mut counted = after([of(0, 0, 0), of(400, 400, 5), of(500, 0, 5)]);
    // Another one began at nothing.
    counted.insert(0, Ok(of(700, 7, 5)));
    pass(&mut cluster, 119, counted.clone());
    cluster.world.now = cluster.world.now.checked_add(SignedDuration::from_secs(1)).unwrap();
    cluster.round();
    let result = seen(&cluster).result.unwrap();
    assert_eq!(result.previous, Figures { requests: 700, errors: 7, mean_milliseconds: 5 });
    assert_eq!((result.verdict, result.new.requests), (Verdict::Good, 500));

    // One that has had more requests than before and needed less time for them began at nothing, too.
    let mut cluster = watched(&json!({}));
    let mut counted = after([of(600, 0, 5), of(400, 0, 5), of(0, 0, 0)]);
    counted.insert(2, Ok(of(500, 30, 5)));
    pass(&mut cluster, 20, counted);
    assert_eq!(seen(&cluster).result.map(|result| result.verdict), Some(Verdict::Worse));
}

#[test]
fn nothing_is_watched_where_no_two_releases_serve() {
    let strict = json!({ "surge": 0, "guard": { "withoutData": "Fail" } });
    let mut cluster = Cluster::rolled("Production", 2, 0);
    cluster.set("/rollout", strict);
    cluster.world.counters = Some(after([of(0, 0, 0); 3]));
    cluster.target('2').play(|_| ());
    assert_eq!(cluster.phases, ["Author", "Surge", "Pair 2", "Watch Pair 2"], "no pair was touched before");
    cluster.world.counters = Some(after([of(600, 60, 5), of(500, 5, 20), of(0, 0, 0)]));
    cluster.pass(2).play(|_| ());
    assert!(cluster.is_complete('2'), "{:?}", rollout(&cluster));

    // A release that failed on the surge pair leaves that pair: what comes next begins with it.
    let failed = || {
        let mut cluster = watched(&json!({ "guard": { "withoutData": "Fail" } }));
        pass(&mut cluster, 20, after([of(600, 6, 5), of(400, 4, 5), of(100, 30, 5)]));
        assert_eq!(cluster.state(), RolloutState::Failed);
        cluster.phases.clear();
        cluster
    };
    let mut cluster = failed();
    cluster.target('3').play(serve);
    assert_eq!((cluster.phases.last().map(String::as_str), seen(&cluster).ordinal), (Some("Watch Surge"), 2));
    let mut cluster = failed();
    cluster.target('1').play(serve);
    assert!(cluster.is_complete('1'), "every other pair is on it already: {:?}", rollout(&cluster));
}

/// What a release that failed has left between the two is no measure.
#[test]
fn a_release_is_judged_by_the_one_that_was_rolled_out_whole() {
    let failed = || {
        let mut cluster = watched(&json!({}));
        pass(&mut cluster, 120, after([of(600, 6, 5), of(400, 4, 5), of(500, 5, 5)]));
        assert_eq!(rollout(&cluster).phase, "Watch Pair 2");
        // Ordinal 2 counts from here: it has had 500 requests.
        pass(&mut cluster, 20, after([of(1200, 12, 5), of(100, 60, 5), of(1000, 300, 5)]));
        assert_eq!((cluster.state(), rollout(&cluster).phase.as_str()), (RolloutState::Failed, "Watch Pair 2"));
        cluster.phases.clear();
        cluster.world.counters = Some(after([of(0, 0, 0); 3]));
        cluster
    };
    // Next to nine in ten of the one that failed, two in ten would pass.
    let mut cluster = failed();
    cluster.target('3').play(serve);
    assert_eq!(rollout(&cluster).phase, "Watch Surge");
    pass(&mut cluster, 20, after([of(600, 6, 5), of(600, 540, 5), of(500, 100, 5)]));
    assert_eq!(cluster.state(), RolloutState::Failed);
    let told = rollout(&cluster).message;
    assert!(told.contains("20.0 % of 500 requests") && told.contains("1.0 % of 600 requests"), "{told}");

    // Nor is it asked for what it has counted.
    let mut cluster = failed();
    cluster.target('3').play(serve);
    let mut counted = after([of(600, 6, 5), of(0, 0, 0), of(500, 5, 5)]);
    counted.insert(1, Err(Silent::Away("time-out".into())));
    pass(&mut cluster, 120, counted);
    assert_eq!((cluster.state(), rollout(&cluster).phase.as_str()), (RolloutState::Progressing, "Watch Pair 2"));

    // What was rolled out whole is the measure itself: it comes again unwatched, however its visitors fare.
    let mut cluster = failed();
    cluster.target('1').play(serve);
    assert!(cluster.is_complete('1'), "{:?}", rollout(&cluster));
}

#[test]
fn what_happens_meanwhile_does_not_begin_the_watch_anew() {
    let mut cluster = watched(&json!({}));
    let since = rollout(&cluster).since;
    let good = || after([of(600, 60, 5), of(400, 40, 5), of(500, 5, 20)]);
    pass(&mut cluster, 60, good());
    let goes_on = |cluster: &Cluster, what: &str| {
        let told = rollout(cluster);
        assert_eq!((told.phase.as_str(), &told.since), ("Watch Surge", &since), "{what}");
        assert_eq!(told.watch.unwrap().since, since, "{what}");
    };
    cluster.world.pods.retain(|pod| pod.tier != Tier::Author);
    cluster.round();
    goes_on(&cluster, "an author that dies");
    cluster.play(serve);
    cluster.world.services.retain(|name| !name.contains("rev-2"));
    cluster.round();
    goes_on(&cluster, "Services that somebody deletes");
    cluster.play(serve);
    cluster.set("/publish/replicas", json!(3));
    cluster.play(serve);
    goes_on(&cluster, "another pair that is wanted, and is there");
    pass(&mut cluster, 60, good());
    assert_eq!(rollout(&cluster).phase, "Watch Pair 2");
}

#[test]
fn an_object_that_is_changed_again_and_again_does_not_keep_a_watch_from_its_end() {
    let mut cluster = watched(&json!({}));
    cluster.world.deviations =
        vec![Deviation { object: Object::Further(Further::Policy(Tier::Publish)), cause: Cause::Outdated }];
    cluster.world.counters = None;
    let plan = next(&cluster.world);
    assert!(!plan.changes.is_empty() && watch::is_on(&plan), "{:?}", plan.changes);
}

#[test]
fn a_long_watch_leaves_time_for_a_pair_that_is_away() {
    let mut cluster = watched(&json!({ "guard": { "watch": "10m" } }));
    let good = || after([of(600, 60, 5), of(400, 40, 5), of(500, 5, 20)]);
    pass(&mut cluster, 599, good());
    (cluster.broken, cluster.broken_at) = (Some("rev-1".into()), Some((Tier::Publish, 0)));
    cluster.world.pods.retain(|pod| (pod.tier, pod.ordinal) != (Tier::Publish, 0));
    cluster.play(serve);
    for seconds in [1, 149] {
        pass(&mut cluster, seconds, good());
        assert_eq!(rollout(&cluster).phase, "Watch Surge");
        assert!(rollout(&cluster).message.contains("pair 1 is away"), "{:?}", rollout(&cluster));
    }
    cluster.world.now = cluster.world.now.checked_add(SignedDuration::from_secs(1)).unwrap();
    cluster.round();
    assert_eq!(rollout(&cluster).phase, "Pair 2", "half-way from the end of the watch to the ready time-out");
}

#[test]
fn an_operator_that_was_away_for_long_judges_before_it_gives_up() {
    let mut cluster = watched(&json!({}));
    pass(&mut cluster, 3 * 3600, after([of(600, 0, 5), of(400, 0, 5), of(500, 0, 5)]));
    assert_eq!((cluster.state(), rollout(&cluster).phase.as_str()), (RolloutState::Progressing, "Watch Pair 2"));
}

#[test]
fn a_pod_that_dies_meanwhile_does_not_begin_the_watch_anew_and_its_time_ends() {
    let mut cluster = watched(&json!({}));
    let since = rollout(&cluster).since;
    let good = || after([of(600, 0, 5), of(400, 0, 5), of(500, 0, 5)]);
    pass(&mut cluster, 60, good());
    cluster.world.pods.retain(|pod| (pod.tier, pod.ordinal) != (Tier::Publish, 2));
    cluster.round();
    let told = rollout(&cluster);
    assert_eq!((told.phase.as_str(), &told.since), ("Watch Surge", &since));
    cluster.play(serve);
    pass(&mut cluster, 59, good());
    assert_eq!((rollout(&cluster).phase.as_str(), rollout(&cluster).since), ("Watch Surge", since));
    pass(&mut cluster, 1, good());
    assert_eq!(rollout(&cluster).phase, "Watch Pair 2");

    // One that never comes back ends the rollout as it would without a guard.
    (cluster.broken, cluster.broken_at) = (Some("rev-2".into()), Some((Tier::Publish, 2)));
    cluster.world.pods.retain(|pod| (pod.tier, pod.ordinal) != (Tier::Publish, 2));
    cluster.play(serve).pass(15).play(serve);
    let told = rollout(&cluster);
    assert_eq!((told.state, told.phase.as_str()), (RolloutState::Failed, "Watch Pair 2"));
    assert!(told.message.contains("prod-publish-2"), "{}", told.message);
}

#[test]
fn a_rollout_that_pauses_is_watched_when_somebody_resumes_it() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.set("/rollout", json!({ "surge": 1, "guard": {} }));
    cluster.world.counters = Some(after([of(0, 0, 0); 3]));
    cluster.target('2');
    cluster.world.environment.status.as_mut().unwrap().target.as_mut().unwrap().pause_after = Some(1);
    cluster.play(serve);
    assert_eq!(cluster.phases, ["Author", "Surge", "Watch Surge"]);
    pass(&mut cluster, 120, after([of(600, 0, 5), of(400, 0, 5), of(500, 0, 5)]));
    assert_eq!((cluster.state(), rollout(&cluster).phase.as_str()), (RolloutState::Paused, "Pair 2"));
    cluster.pass(300);
    cluster.world.environment.status.as_mut().unwrap().target.as_mut().unwrap().pause_after = None;
    cluster.play(serve);
    assert_eq!((cluster.state(), rollout(&cluster).phase.as_str()), (RolloutState::Progressing, "Watch Pair 2"));
    assert_eq!(seen(&cluster).since, rollout(&cluster).since, "the pause is no part of it");
}
