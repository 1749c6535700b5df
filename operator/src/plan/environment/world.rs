//! What the planner of an Environment knows: facts that [`crate::observe`] read, or a test made up.

use std::collections::BTreeSet;

use jiff::Timestamp;
use launchway_crds::{
    Environment,
    digest::ImageRef,
    environment::{ReleaseImages, Tier},
};

use super::objects::{Deviation, Further};

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
}

/// What should run.
#[derive(Clone, Debug, PartialEq)]
pub enum Desired {
    /// Nothing was ever deployed or asked for, and no base images are known or to run.
    Nothing,
    /// Images that could not be read: the registry's answer says why.
    Unknown(String),
    /// A release, or the bare base images as long as there was none.
    Release(Box<DesiredRelease>),
}

/// What two images are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Base images without anything added: nothing was ever deployed.
    Bare,
    /// A release.
    Release(ImageRef),
}

/// How the bare base images are called where a release has its reference.
const BARE: &str = "bare";

impl Content {
    /// The release, if it is one.
    #[must_use]
    pub const fn release(&self) -> Option<&ImageRef> {
        match self {
            Self::Bare => None,
            Self::Release(release) => Some(release),
        }
    }

    /// The whole reference, for annotations.
    #[must_use]
    pub fn mark(&self) -> String {
        self.release().map_or_else(|| BARE.into(), ToString::to_string)
    }

    /// The digest, for containers.
    #[must_use]
    pub fn digest(&self) -> String {
        self.release().map_or_else(|| BARE.into(), |release| release.digest().to_string())
    }

    /// The short digest, for labels.
    #[must_use]
    pub fn short(&self) -> String {
        self.release().map_or_else(|| BARE.into(), |release| release.digest().short())
    }

    /// Whether a mark says that the bare base images run.
    #[must_use]
    pub fn is_bare(mark: &str) -> bool {
        mark == BARE
    }
}

/// What should run, and the hash of everything in the pods' templates.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredRelease {
    /// What the images are.
    pub content: Content,
    /// The images.
    pub images: ReleaseImages,
    /// Hash of content, contract and the parts of the spec that reach a pod.
    pub revision: String,
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
    /// Why it is not ready, as far as the kubelet tells.
    pub problem: Option<String>,
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

    /// Whether the pod of a tier and ordinal is ready on a revision, and is the only one there.
    #[must_use]
    pub fn is_ready(&self, tier: Tier, ordinal: i32, revision: &str) -> bool {
        self.pods.iter().any(|pod| {
            pod.tier == tier && pod.ordinal == ordinal && pod.revision == revision && pod.ready && !pod.terminating
        })
    }

    /// Whether both pods of a pair are ready on a revision.
    #[must_use]
    pub fn pair_is_ready(&self, ordinal: i32, revision: &str) -> bool {
        self.is_ready(Tier::Publish, ordinal, revision) && self.is_ready(Tier::Dispatcher, ordinal, revision)
    }
}
