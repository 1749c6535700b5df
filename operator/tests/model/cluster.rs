//! An Environment's StatefulSets, pods and Services, as small as they can be, and an operator that rolls releases out on
//! them. Used by the unit tests of `plan/environment` and by the random histories here.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, missing_docs, reason = "shared by several tests")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    Environment,
    conditions::{self, types},
    deploy::{CacheFlush, CachePaths, Scope},
    digest::ImageRef,
    environment::{ReleaseImages, RolloutState, Target, Tier},
};
use launchway_operator::plan::environment::{
    Change, Plan, aim, configuration_name, next, pair_service,
    world::{Configurations, Content, Desired, DesiredRelease, Pod, Revisions, Workload, World},
};

pub fn image(letter: char) -> ImageRef {
    format!("registry.example.com/wknd/images@sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
}

fn wish(letter: char, now: Timestamp) -> Target {
    Target {
        execution: format!("wknd-{letter}"),
        uid: format!("uid-{letter}"),
        release: image(letter),
        images: ReleaseImages { aem: image('a'), dispatcher: image('d') },
        scope: Scope::Release,
        detach: true,
        cache: None,
        made_at: None,
        since: Time(now),
        pause_after: None,
    }
}

/// Revisions of a release, and of dispatchers that were replaced on it so many times: what comes before the point names the
/// publish that a dispatcher is for.
pub fn revisions(letter: char, dispatcher: u8) -> Revisions {
    Revisions { aem: format!("rev-{letter}"), dispatcher: format!("rev-{letter}.{dispatcher}") }
}

#[derive(Clone, Debug)]
pub struct Cluster {
    pub world: World,
    /// Revision for ordinals below the partition, by tier: the StatefulSet controller's memory, which follows the template
    /// once every pod is on it and ready.
    pub previous: [String; 3],
    /// Pods of this release never become ready.
    pub broken: Option<String>,
    /// Of these only that of a tier and ordinal; none: those of author and publish.
    pub broken_at: Option<(Tier, i32)>,
    /// Whether they say that waiting cannot help.
    pub hopeless: bool,
    /// A change of the Environment's spec: what is deployed has other revisions with it.
    pub spec: Option<Revisions>,
    pub phases: Vec<String>,
}

pub const fn index(tier: Tier) -> usize {
    match tier {
        Tier::Author => 0,
        Tier::Publish => 1,
        Tier::Dispatcher => 2,
    }
}

impl Cluster {
    pub fn new(type_: &str, pairs: i32, surge: i32) -> Self {
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
            further: BTreeSet::new(),
            deviations: vec![],
            lock_holder_runs: true,
            kept: BTreeSet::new(),
            configurations: Configurations::default(),
            counters: None,
        };
        Self {
            world,
            previous: Default::default(),
            broken: None,
            broken_at: None,
            hopeless: false,
            spec: None,
            phases: vec![],
        }
    }

    pub fn target(&mut self, letter: char) -> &mut Self {
        self.ask(wish(letter, self.world.now), revisions(letter, 0))
    }

    /// The same release again, by an execution that has dispatchers drop something from their caches.
    pub fn flush(&mut self, letter: char, dispatcher: u8) -> &mut Self {
        let paths = CachePaths { invalidate_paths: vec!["/content/wknd".into()], ..CachePaths::default() };
        let cache = Some(CacheFlush { uid: format!("uid-{letter}-{dispatcher}"), paths });
        self.ask(Target { cache, ..wish(letter, self.world.now) }, revisions(letter, dispatcher))
    }

    pub fn ask(&mut self, target: Target, revisions: Revisions) -> &mut Self {
        let status = self.world.environment.status.get_or_insert_default();
        let wanted = target.reached(status.deployed.as_ref(), target.since.clone());
        status.rollout = None;
        status.restore = None;
        status.target = Some(target);
        self.desire(Content::Release(Box::new(wanted)), revisions);
        self
    }

    fn desire(&mut self, content: Content, revisions: Revisions) {
        let configuration = BTreeMap::new();
        self.world.desired = Desired::Release(Box::new(DesiredRelease { content, revisions, configuration }));
    }

    pub fn slot(&mut self, tier: Tier) -> &mut Option<Workload> {
        match tier {
            Tier::Author => &mut self.world.author,
            Tier::Publish => &mut self.world.publish,
            Tier::Dispatcher => &mut self.world.dispatcher,
        }
    }

    /// One round of the planner. Says whether it changed anything.
    pub fn round(&mut self) -> bool {
        let plan = next(&self.world);
        let acted = !plan.changes.is_empty() || Some(&plan.status) != self.world.environment.status.as_ref();
        self.change(&plan, usize::MAX);
        if let Some(rollout) = &plan.status.rollout
            && self.phases.last() != Some(&rollout.phase)
        {
            self.phases.push(rollout.phase.clone());
        }
        self.world.environment.status = Some(plan.status);
        self.want();
        acted
    }

    /// What is wanted once nobody asks for a release any more: what was deployed.
    fn want(&mut self) {
        let status = self.world.environment.status.clone().unwrap_or_default();
        if let (None, Some(deployed)) = (&status.target, status.deployed) {
            let known = deployed.revisions.clone();
            let letter = deployed.release.digest().hex().chars().next().unwrap();
            let revisions = self.spec.clone().or(known).unwrap_or_else(|| revisions(letter, 0));
            self.desire(Content::Release(Box::new(deployed)), revisions);
        }
    }

    /// Changes the Environment's spec, so that what is deployed has the revisions of this letter.
    pub fn edit(&mut self, letter: char) -> &mut Self {
        self.spec = Some(revisions(letter, 0));
        self.want();
        self
    }

    /// Sets a field of the Environment's spec.
    pub fn set(&mut self, field: &str, value: serde_json::Value) -> &mut Self {
        let mut object = serde_json::to_value(&self.world.environment).unwrap();
        *object.pointer_mut("/spec").unwrap().pointer_mut(field).unwrap() = value;
        self.world.environment = serde_json::from_value(object).unwrap();
        self
    }

    /// Nothing is broken any more, and pods no longer say so.
    pub fn mend(&mut self) -> &mut Self {
        self.broken = None;
        for pod in &mut self.world.pods {
            (pod.hopeless, pod.problem, pod.since) = (false, None, self.world.now);
        }
        self
    }

    fn is_broken(&self, pod: &Pod) -> bool {
        let release = pod.revision.split('.').next();
        let here = self.broken_at.map_or(pod.tier != Tier::Dispatcher, |at| at == (pod.tier, pod.ordinal));
        self.broken.is_some() && self.broken.as_deref() == release && here
    }

    /// Makes the first so many changes of a plan.
    pub fn change(&mut self, plan: &Plan, most: usize) {
        for change in plan.changes.iter().take(most) {
            self.apply(change.clone());
        }
    }

    /// What the apiserver and the StatefulSet controller make of one change.
    pub fn apply(&mut self, change: Change) {
        let Some(aim) = aim(&self.world) else { panic!("nothing is desired") };
        match change {
            Change::Service(name) => {
                self.world.services.insert(name.of("prod", &aim.release.revisions.aem));
            }
            Change::DeleteService(name) => {
                self.world.services.remove(&name);
            }
            Change::Further(object) => {
                self.world.further.insert(object);
            }
            Change::DeleteFurther(object) => {
                self.world.further.remove(&object);
            }
            Change::Workload { tier, replicas, partition } => {
                let revision = aim.release.revisions.of(tier).to_string();
                self.world.kept.insert((tier, revision.clone()));
                let set = Workload { revision: revision.clone(), replicas, partition, retains: true };
                if self.slot(tier).replace(set).is_none() {
                    self.previous[index(tier)] = revision;
                }
            }
            Change::Configuration(tier) => {
                let name = configuration_name("prod", tier, &aim.release.configuration[&tier]);
                self.world.configurations.present.insert(name);
            }
            Change::DeleteConfiguration(name) => {
                self.world.configurations.present.remove(&name);
            }
        }
    }

    /// One step of the StatefulSet controller and the kubelet. Says whether anything happened.
    pub fn kubelet(&mut self) -> bool {
        for tier in Tier::ALL {
            let Some(set) = self.world.workload(tier).cloned() else { continue };
            let own: Vec<&Pod> = self.world.pods.iter().filter(|pod| pod.tier == tier).collect();
            if i32::try_from(own.len()) == Ok(set.replicas)
                && own.iter().all(|pod| pod.ready && pod.revision == set.revision)
            {
                self.previous[index(tier)].clone_from(&set.revision);
            }
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
                        since: self.world.now,
                        problem: None,
                        troubled: false,
                        hopeless: false,
                        log: None,
                        asks: String::new(),
                        runs: String::new(),
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
        let broken: Vec<bool> = self.world.pods.iter().map(|pod| self.is_broken(pod)).collect();
        for (pod, broken) in self.world.pods.iter_mut().zip(broken) {
            let says = broken.then(|| "failed wknd:ui.apps:1: no node type".to_owned());
            if (pod.hopeless, &pod.problem) != (broken && self.hopeless, &says) {
                (pod.hopeless, pod.problem, pod.since) = (broken && self.hopeless, says, self.world.now);
                return true;
            }
            let answers = match pod.tier {
                Tier::Author | Tier::Publish => !broken,
                Tier::Dispatcher => {
                    let (aem, _) = pod.revision.split_once('.').unwrap();
                    !broken
                        && publishes.contains(&(pod.ordinal, aem.to_string()))
                        && services.contains(&pair_service("prod", &pod.ordinal.to_string(), aem))
                }
            };
            if pod.ready != answers {
                (pod.ready, pod.since) = (answers, self.world.now);
                return true;
            }
        }
        false
    }

    /// Pairs that serve: both pods ready, the dispatcher for just that publish.
    pub fn serving(&self) -> usize {
        let ready = |tier| self.world.pods.iter().filter(move |pod| pod.tier == tier && pod.ready && !pod.terminating);
        ready(Tier::Dispatcher)
            .filter(|dispatcher| {
                let of = |publish: &&Pod| dispatcher.revision.starts_with(&format!("{}.", publish.revision));
                ready(Tier::Publish).filter(of).any(|publish| publish.ordinal == dispatcher.ordinal)
            })
            .count()
    }

    /// Lets minutes pass.
    pub fn pass(&mut self, minutes: i64) -> &mut Self {
        self.world.now = self.world.now.checked_add(SignedDuration::from_mins(minutes)).unwrap();
        self
    }

    pub fn state(&self) -> RolloutState {
        self.world.environment.status.as_ref().unwrap().rollout.as_ref().unwrap().state
    }

    /// Whether every pod that should be there runs a revision, and no other is there.
    pub fn runs(&self, revisions: &Revisions) -> bool {
        let pairs = self.world.environment.spec.publish.replicas;
        self.world.is_ready(Tier::Author, 0, revisions)
            && (0..pairs).all(|ordinal| self.world.pair_is_ready(ordinal, revisions))
            && i32::try_from(self.world.pods.len()).unwrap() == 1 + 2 * pairs
    }

    /// Plays until nothing happens any more; `check` sees every state.
    pub fn play(&mut self, mut check: impl FnMut(&Self)) -> &mut Self {
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

    pub fn rolled(type_: &str, pairs: i32, surge: i32) -> Self {
        let mut cluster = Self::new(type_, pairs, surge);
        cluster.target('1').play(|_| ());
        assert!(cluster.is_complete('1'));
        cluster.phases.clear();
        cluster
    }

    pub fn is_complete(&self, letter: char) -> bool {
        self.is_complete_on(letter, &revisions(letter, 0))
    }

    pub fn is_complete_on(&self, letter: char, revisions: &Revisions) -> bool {
        let status = self.world.environment.status.as_ref().unwrap();
        status.target.is_none()
            && status.deployed.as_ref().is_some_and(|deployed| deployed.release == image(letter))
            && status.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::Complete)
            && self.runs(revisions)
    }

    pub fn ready_reason(&self) -> String {
        let status = self.world.environment.status.as_ref().unwrap();
        conditions::get(&status.conditions, types::READY).unwrap().reason.clone()
    }
}
