//! What the planner of an Environment knows: facts that [`crate::observe`] read, or a test made up.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use launchway_crds::{
    Environment,
    deploy::{CacheFlush, Origin},
    digest::ImageRef,
    environment::{Deployed, ReleaseImages, Tier},
};

use super::objects::{Deviation, Further};

pub use launchway_crds::{guard::Counters, restore::Revisions};

/// Everything that decides what is done to the workloads of an Environment.
#[derive(Clone, Debug)]
pub struct World {
    /// The moment of the observation, in whole seconds.
    pub now: Timestamp,
    /// The Environment as the apiserver has it now.
    pub environment: Environment,
    /// The release that it should run, as far as it is known how to run it.
    pub desired: Desired,
    /// Its StatefulSets.
    pub author: Option<Workload>,
    /// Publish StatefulSet.
    pub publish: Option<Workload>,
    /// Dispatcher StatefulSet.
    pub dispatcher: Option<Workload>,
    /// Names of its Services.
    pub services: BTreeSet<String>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Its further objects that are there.
    pub further: BTreeSet<Further>,
    /// Its objects that are there and are not what they should be.
    pub deviations: Vec<Deviation>,
    /// Whether the execution that holds the lock is there and runs. True when there is no lock.
    pub lock_holder_runs: bool,
    /// Templates of pods that the cluster keeps, by tier and revision: what runs, and what ran before.
    pub kept: BTreeSet<(Tier, String)>,
    /// Its configuration objects.
    pub configurations: Configurations,
    /// What dispatchers that are ready have counted, by ordinal; none when nobody asked them, for no plan depended on it.
    pub counters: Option<BTreeMap<i32, Result<Counters, Silent>>>,
}

/// Why it is not known what a dispatcher has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silent {
    /// Its image states no port for that: it never will be.
    NoPort,
    /// It did not answer, or with something else.
    Away(String),
}

/// ConfigMaps and Secrets with the variables of an Environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configurations {
    /// Names of those that are there, whole.
    pub present: BTreeSet<String>,
    /// Names that a pod, a workload's template, or a template that the cluster keeps refers to.
    pub referred: BTreeSet<String>,
    /// Why the variables cannot be had as the spec has them now. What runs goes on with those that it has.
    pub missing: Option<String>,
}

/// What should run.
#[derive(Clone, Debug, PartialEq)]
pub enum Desired {
    /// Nothing was ever deployed or asked for, and no base images are known or to run.
    Nothing,
    /// Images that could not be read: the registry's answer says why.
    Unknown(String),
    /// A release, or a changed spec, whose variables cannot be had: which Secret or key is missing.
    Unconfigured(String),
    /// A release, or the bare base images as long as there was none.
    Release(Box<DesiredRelease>),
}

/// What two images are.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Base images without anything added: nothing was ever deployed.
    Bare(ReleaseImages),
    /// A release, who deploys it, and what else its deployment brings.
    Release(Box<Deployed>),
}

/// How the bare base images are called where a release has its reference.
const BARE: &str = "bare";

impl Content {
    /// The images.
    #[must_use]
    pub const fn images(&self) -> &ReleaseImages {
        match self {
            Self::Bare(images) => images,
            Self::Release(deployed) => &deployed.images,
        }
    }

    /// The release of author and publish, if it is one.
    #[must_use]
    pub const fn release(&self) -> Option<&ImageRef> {
        match self {
            Self::Bare(_) => None,
            Self::Release(deployed) => Some(&deployed.release),
        }
    }

    /// The deployment that the image of a tier comes with; none for base images.
    #[must_use]
    pub fn origin(&self, tier: Tier) -> Option<Origin> {
        match (self, tier) {
            (Self::Bare(_), _) => None,
            (Self::Release(deployed), Tier::Author | Tier::Publish) => Some(deployed.aem_origin()),
            (Self::Release(deployed), Tier::Dispatcher) => Some(deployed.dispatcher_origin()),
        }
    }

    /// What dispatchers drop from their caches before they serve.
    #[must_use]
    pub const fn cache(&self) -> Option<&CacheFlush> {
        match self {
            Self::Bare(_) => None,
            Self::Release(deployed) => deployed.cache.as_ref(),
        }
    }

    /// The whole reference of a tier's release, for annotations.
    #[must_use]
    pub fn mark(&self, tier: Tier) -> String {
        self.told(tier, ToString::to_string)
    }

    /// Its digest, for containers.
    #[must_use]
    pub fn digest(&self, tier: Tier) -> String {
        self.told(tier, |release| release.digest().to_string())
    }

    /// Its short digest, for labels.
    #[must_use]
    pub fn short(&self, tier: Tier) -> String {
        self.told(tier, |release| release.digest().short())
    }

    fn told(&self, tier: Tier, how: impl FnOnce(&ImageRef) -> String) -> String {
        self.origin(tier).map_or_else(|| BARE.into(), |origin| how(&origin.release))
    }

    /// Whether a mark says that the bare base images run.
    #[must_use]
    pub fn is_bare(mark: &str) -> bool {
        mark == BARE
    }
}

/// What should run, and the hashes of everything in the pods' templates.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredRelease {
    /// What the Environment runs when its pods are what they should be.
    pub content: Content,
    /// Hashes of content, contract and the parts of the spec that reach a pod.
    pub revisions: Revisions,
    /// Hashes of the variables, of the tiers that have any.
    pub configuration: BTreeMap<Tier, String>,
}

impl DesiredRelease {
    /// One name for all of it.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revisions.dispatcher
    }
}

/// A StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Revision of its template.
    pub revision: String,
    /// Wanted number of pods.
    pub replicas: i32,
    /// Pods of this ordinal and above are on the template's revision.
    pub partition: i32,
    /// Whether its volumes outlive it.
    pub retains: bool,
}

/// A pod of a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its tier.
    pub tier: Tier,
    /// Its ordinal in the StatefulSet.
    pub ordinal: i32,
    /// Revision of its template.
    pub revision: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Since when it is so, in whole seconds: ready; or not ready, and its readiness probe says the same; or, where that
    /// says nothing, since its container runs, or it is there.
    pub since: Timestamp,
    /// Why it is not ready, as far as the kubelet tells.
    pub problem: Option<String>,
    /// Whether the problem is one of the kubelet's, such as a container that ended. Else it is the readiness probe that
    /// says how far the start is.
    pub troubled: bool,
    /// Whether the problem cannot go away by waiting: the runtime says that a package failed.
    pub hopeless: bool,
    /// The end of its log, when that says more than the problem.
    pub log: Option<String>,
    /// The image of its main container, as its spec asks for it. Anybody who may write pods may change that.
    pub asks: String,
    /// The image that the container runtime says it runs, with a digest; empty before it started.
    pub runs: String,
}

impl World {
    /// The StatefulSet of a tier.
    #[must_use]
    pub const fn workload(&self, tier: Tier) -> Option<&Workload> {
        match tier {
            Tier::Author => self.author.as_ref(),
            Tier::Publish => self.publish.as_ref(),
            Tier::Dispatcher => self.dispatcher.as_ref(),
        }
    }

    /// Name of the Environment.
    #[must_use]
    pub fn name(&self) -> &str {
        self.environment.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether somebody deletes the Environment.
    #[must_use]
    pub const fn is_deleted(&self) -> bool {
        self.environment.metadata.deletion_timestamp.is_some()
    }

    /// Whether the cluster keeps the templates of every tier.
    #[must_use]
    pub fn keeps(&self, revisions: &Revisions) -> bool {
        Tier::ALL.into_iter().all(|tier| self.kept.contains(&(tier, revisions.of(tier).to_owned())))
    }

    /// Whether the StatefulSet of a tier has a revision for every ordinal.
    #[must_use]
    pub fn is_rolled(&self, tier: Tier, revisions: &Revisions) -> bool {
        self.workload(tier).is_some_and(|workload| workload.revision == revisions.of(tier) && workload.partition == 0)
    }

    /// Whether the pod of a tier and ordinal is ready on its revision, and is the only one there.
    #[must_use]
    pub fn is_ready(&self, tier: Tier, ordinal: i32, revisions: &Revisions) -> bool {
        let revision = revisions.of(tier);
        self.pods.iter().any(|pod| {
            pod.tier == tier && pod.ordinal == ordinal && pod.revision == revision && pod.ready && !pod.terminating
        })
    }

    /// Whether both pods of a pair are ready on their revisions.
    #[must_use]
    pub fn pair_is_ready(&self, ordinal: i32, revisions: &Revisions) -> bool {
        self.is_ready(Tier::Publish, ordinal, revisions) && self.is_ready(Tier::Dispatcher, ordinal, revisions)
    }
}
