//! What is told of a rollout that waits, and when.

use jiff::{SignedDuration, Timestamp};
use launchway_crds::environment::Tier;

use super::cluster::Cluster;
use crate::plan::environment::next;

impl Cluster {
    fn told(&self) -> String {
        self.world.environment.status.clone().unwrap().rollout.unwrap().message
    }

    fn later(&mut self, seconds: i64) -> &mut Self {
        self.world.now = self.world.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self
    }

    /// Pods of a tier that are not ready say this, from now on.
    fn say(&mut self, tier: Tier, problem: &str) -> &mut Self {
        let now = self.world.now;
        for pod in self.world.pods.iter_mut().filter(|pod| pod.tier == tier && !pod.ready) {
            (pod.problem, pod.since) = (Some(problem.into()), now);
        }
        self
    }

    /// A round a second for so long: how often it wrote status.
    fn writes(&mut self, seconds: i64) -> usize {
        (0..seconds)
            .filter(|_| {
                let before = self.world.environment.status.clone();
                self.later(1).round();
                self.world.environment.status != before
            })
            .count()
    }

    /// Rounds at the times that the plan itself names, until these words are told: when that was.
    fn tells(&mut self, words: &str) -> Timestamp {
        while let Some(wake) = next(&self.world).wake.filter(|_| !self.told().contains(words)) {
            assert!(wake > self.world.now, "a round wakes itself at once");
            self.world.now = wake;
            self.round();
        }
        assert!(self.told().contains(words), "{}", self.told());
        self.world.now
    }
}

/// A stage whose author, or pods of another tier, do not become ready.
fn starting(tier: Tier) -> Cluster {
    let mut cluster = Cluster::rolled("Stage", 1, 1);
    (cluster.broken, cluster.broken_at) = (Some("rev-2".into()), Some((tier, 0)));
    cluster.target('2').play(|_| ());
    cluster.broken = None;
    cluster.say(tier, "pending wknd:ui.apps:1: waits for the package installer").round();
    cluster
}

/// Pods that only start are told of rarely. Which of them does not go on, and why, is told within half a minute.
#[test]
fn which_pod_is_waited_for_is_told_within_half_a_minute() {
    let mut cluster = starting(Tier::Author);
    cluster.later(7).say(Tier::Author, "pending wknd:ui.apps:1: an endless migration");
    let began = cluster.world.now;
    cluster.round();
    assert_eq!(cluster.told(), "pods are replaced", "it may be ready soon");
    // Looks at what is waited for come first, and change nothing.
    let told = cluster.tells("prod-author-0 pending wknd:ui.apps:1: an endless migration");
    assert_eq!(told.duration_since(began), SignedDuration::from_secs(20));

    // The same of what it says next, however young the words are that it takes the place of.
    cluster.later(1).say(Tier::Author, "pending wknd:ui.apps:1: another migration");
    let began = cluster.world.now;
    cluster.round();
    assert_eq!(cluster.tells("another migration").duration_since(began), SignedDuration::from_secs(20));
    assert_eq!(cluster.writes(60), 0, "it is told once");
}

/// Every write of status is one for each who reads it: a slow start that goes on costs one a minute.
#[test]
fn a_start_that_goes_on_is_not_told_of_for_a_minute() {
    let mut cluster = starting(Tier::Author);
    let began = cluster.world.environment.status.clone().unwrap().rollout.unwrap().message_at.unwrap().0;
    let mut writes = 0;
    for step in 0..5 {
        cluster.say(Tier::Author, &format!("pending wknd:ui.apps:{step}: waits for the package installer"));
        writes += cluster.writes(11);
    }
    assert_eq!(writes, 0, "{}", cluster.told());
    let told = cluster.tells("pending wknd:ui.apps:4:");
    assert_eq!(told.duration_since(began), SignedDuration::from_secs(60));
}

/// A dispatcher says all the time that it waits for its publish: that is no news while the publish starts, nor in the moment
/// in which the publish is ready.
#[test]
fn a_dispatcher_that_waits_for_its_publish_is_not_stuck() {
    let mut cluster = Cluster::rolled("Production", 1, 1);
    (cluster.broken, cluster.broken_at) = (Some("rev-2".into()), Some((Tier::Publish, 1)));
    cluster.target('2').play(|_| ());
    assert_eq!(cluster.phases.last().unwrap(), "Surge");
    cluster.say(Tier::Dispatcher, "pending publish: waits").round();
    for step in 0..5 {
        cluster.say(Tier::Publish, &format!("pending wknd:ui.apps:{step}: waits for the package installer"));
        assert_eq!(cluster.writes(10), 0, "{}", cluster.told());
    }
    let now = cluster.world.now;
    for pod in cluster.world.pods.iter_mut().filter(|pod| pod.tier == Tier::Publish && !pod.ready) {
        (pod.ready, pod.problem, pod.since) = (true, None, now);
    }
    assert_eq!(cluster.writes(5), 0, "{}", cluster.told());
    let told = cluster.tells("prod-dispatcher-1 pending publish: waits");
    assert!(told.duration_since(now) <= SignedDuration::from_secs(20));
}
