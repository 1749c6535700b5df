//! What is told of a rollout that waits, and when.

use jiff::SignedDuration;

use super::cluster::Cluster;
use crate::plan::environment::next;

/// Pods that only start are told of rarely, and which of them is not ready, and
/// why, is told half a minute after it was replaced at the latest.
#[test]
fn which_pod_is_waited_for_is_told_within_half_a_minute() {
    let mut cluster = Cluster::rolled("Stage", 1, 1);
    cluster.broken = Some("rev-2".into());
    let began = cluster.world.now;
    cluster.target('2').play(|_| ());
    for pod in cluster.world.pods.iter_mut().filter(|pod| !pod.ready) {
        pod.problem = Some("pending wknd:ui.apps:1: an endless migration".into());
    }
    cluster.round();
    let told = |cluster: &Cluster| cluster.world.environment.status.clone().unwrap().rollout.unwrap().message;
    assert_eq!(told(&cluster), "pods are replaced", "it may be ready soon");
    // Looks at what is waited for come first, and change nothing.
    while let Some(wake) = next(&cluster.world).wake.filter(|_| !told(&cluster).contains("an endless migration")) {
        assert!(wake > cluster.world.now, "a round wakes itself at once");
        cluster.world.now = wake;
        cluster.round();
    }
    assert!(told(&cluster).contains("prod-author-0"), "{}", told(&cluster));
    assert!(cluster.world.now.duration_since(began) <= SignedDuration::from_secs(30), "{}", cluster.world.now);
}
