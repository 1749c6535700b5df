//! Pairs come and go in the middle of everything: an HorizontalPodAutoscaler does not ask whether it is a good moment.

use launchway_crds::environment::Tier;

use super::cluster::{Cluster, index, revisions};

/// Who scales also makes another generation, as the apiserver does.
fn scale(cluster: &mut Cluster, pairs: i32) {
    let environment = &mut cluster.world.environment;
    environment.spec.publish.replicas = pairs;
    *environment.metadata.generation.get_or_insert(1) += 1;
}

/// Every pod is on the revision that its ordinal should have, no dispatcher stands without its publish, and visitors are
/// served.
fn check(cluster: &Cluster, at_least: usize, when: &str) {
    for pod in &cluster.world.pods {
        let set = cluster.world.workload(pod.tier).unwrap();
        let previous = &cluster.previous[index(pod.tier)];
        let may = pod.revision == set.revision || &pod.revision == previous;
        assert!(may, "{when}: {pod:?} is on neither side of {set:?}");
    }
    for pod in cluster.world.pods.iter().filter(|pod| pod.tier == Tier::Dispatcher && pod.ready) {
        let publish = |other: &&super::super::world::Pod| other.tier == Tier::Publish && other.ordinal == pod.ordinal;
        let same = cluster.world.pods.iter().find(publish);
        // A dispatcher's revision begins with that of its publish.
        let of = pod.revision.split('.').next().unwrap();
        assert!(same.is_some_and(|other| other.revision == of), "{when}: {pod:?} beside {same:?}");
    }
    assert!(cluster.serving() >= at_least, "{when}: {} serve, {:?}", cluster.serving(), cluster.world.pods);
}

/// Plays a number of steps.
fn steps(cluster: &mut Cluster, count: usize, at_least: usize, when: &str) {
    for _ in 0..count {
        cluster.round();
        check(cluster, at_least, when);
        cluster.kubelet();
    }
}

#[test]
fn two_four_one_pairs_at_every_moment_of_a_rollout() {
    for surge in [1, 0] {
        for out in 0..40 {
            for later in [0, 1, 2, 3, 5, 8, 13, 21, 34] {
                let mut cluster = Cluster::rolled("Production", 2, surge);
                cluster.target('2');
                let at_least = if surge == 1 { 2 } else { 1 };
                let when = format!("surge {surge}, 4 pairs after {out}, 1 pair {later} later");
                steps(&mut cluster, out, at_least, &when);
                scale(&mut cluster, 4);
                steps(&mut cluster, later, at_least, &when);
                scale(&mut cluster, 1);
                cluster.play(|cluster| check(cluster, 1, &when));
                assert!(cluster.is_complete('2'), "{when}: {:?} {:?}", cluster.phases, cluster.world.pods);
            }
        }
    }
}

#[test]
fn pairs_that_are_added_in_the_middle_of_a_rollout_come_at_once_and_on_the_new_release() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.target('2');
    while cluster.phases.last().map(String::as_str) != Some("Pair 2") {
        cluster.round();
        cluster.kubelet();
    }
    scale(&mut cluster, 5);
    cluster.play(|cluster| {
        let first = cluster.world.pods.iter().find(|pod| pod.tier == Tier::Publish && pod.ordinal == 0);
        let new = |ordinal| cluster.world.pair_is_ready(ordinal, &revisions('2', 0));
        // They do not wait for the pairs that are still to be replaced.
        if first.is_some_and(|pod| pod.revision == "rev-2") {
            assert!((3..5).all(new), "{:?}", cluster.world.pods);
        }
    });
    assert!(cluster.phases.contains(&"Grow".to_string()), "{:?}", cluster.phases);
    assert!(cluster.is_complete('2'));
}

#[test]
fn scaling_in_takes_the_dispatcher_away_first_in_every_strategy() {
    for type_ in ["Production", "Stage"] {
        let mut cluster = Cluster::rolled(type_, 4, 1);
        scale(&mut cluster, 1);
        cluster.play(|cluster| check(cluster, 1, type_));
        assert!(cluster.is_complete('1'));
    }
}

#[test]
fn who_scales_the_environment_has_changed_nothing_by_hand() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    scale(&mut cluster, 4);
    cluster.play(|cluster| {
        let status = cluster.world.environment.status.as_ref().unwrap();
        let drifted = launchway_crds::conditions::get(&status.conditions, launchway_crds::conditions::types::DRIFTED);
        assert_eq!(drifted.unwrap().status, "False", "{drifted:?}");
    });
}

/// An autoscaler whose target is an average for each pair divides by the pairs that status tells of.
#[test]
fn a_pair_that_a_rollout_adds_is_not_counted_and_one_that_drains_is() {
    let counted = |cluster: &Cluster| cluster.world.environment.status.as_ref().unwrap().replicas;
    let exist = |cluster: &Cluster| cluster.world.publish.as_ref().unwrap().replicas;
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.target('2');
    let mut most = 0;
    cluster.play(|cluster| {
        most = most.max(exist(cluster));
        assert_eq!(counted(cluster), 2, "{:?}", cluster.phases);
    });
    assert!(most == 3 && cluster.is_complete('2'));

    // Somebody scales in: nothing rolls, and pods that are still there are told of.
    scale(&mut cluster, 1);
    let mut seen = vec![];
    cluster.play(|cluster| seen.push((exist(cluster), counted(cluster))));
    seen.dedup();
    assert_eq!(seen, [(2, 2), (1, 1)]);
}
