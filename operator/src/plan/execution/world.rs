//! What the planner of an execution knows: facts that [`crate::observe`] read, or a test made up.

use std::collections::BTreeMap;

use jiff::Timestamp;
use launchway_crds::{
    Environment, Pipeline, PipelineExecution,
    digest::{ImageRef, Sha256Digest},
    environment::{ReleaseImages, Runtime},
    execution::ArtifactFile,
    revision::PipelineRevision,
    step::{Metric, StepName},
    version::ArtifactsVersion,
};

use crate::{
    flux::{FluxArtifact, FluxCommit, FluxFault},
    git::GitFault,
};

use super::action::Action;

/// Everything that decides what an execution does next.
#[derive(Clone, Debug)]
pub struct World {
    /// The moment of the observation, in whole seconds.
    pub now: Timestamp,
    /// The execution as the apiserver has it now.
    pub execution: PipelineExecution,
    /// Its pipeline, if there is one: status as it is, spec as it was when the execution began.
    pub pipeline: Option<Pipeline>,
    /// What is kept of the pipeline's spec for this execution.
    pub revision: RevisionFacts,
    /// The Environment on which the release is tested: stage, or that of a Deployment pipeline.
    pub stage: Option<Environment>,
    /// The Environment that the pipeline names as production.
    pub production: Option<Environment>,
    /// The pipeline whose releases this one takes.
    pub source_pipeline: Option<Pipeline>,
    /// An older pipeline of the same type, and the Environment that both go to; none when it was not looked at.
    pub rival: Option<(String, String)>,
    /// An older execution that waits for one of the same environments.
    pub ahead: Option<String>,
    /// Other executions of the same pipeline.
    pub siblings: Siblings,
    /// The artifact in the registry; none when the current step has no use for it.
    pub artifact: Option<Result<FoundArtifact, Fault>>,
    /// What is known of sources.
    pub git: GitFacts,
    /// Jobs of steps, as far as they were looked at: that of the current step, and of those that [`super::Plan::look`]
    /// asked about.
    pub jobs: BTreeMap<StepName, JobFacts>,
    /// What the registry has of the release that the build named.
    pub release: Option<Result<FoundRelease, Fault>>,
    /// What a build that failed found each file of the artifact to be.
    pub refused: Vec<ArtifactFile>,
    /// An action that the apiserver has just refused; a Job that it refused is among [`Self::jobs`].
    pub denied: Option<Denied>,
    /// Whether the request that [`Needs::guard`] named can be trusted.
    pub guard: Guard,
    /// Names of the pipelines that have the dispatcher image of an Environment to themselves, by Environment; none when
    /// not looked at.
    pub web_tiers: Option<BTreeMap<String, String>>,
    /// Base images that the operator was installed with.
    pub default_runtime: Runtime,
}

/// An action that the apiserver refuses as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Denied {
    /// The action.
    pub action: Action,
    /// What the apiserver said.
    pub why: String,
}

/// The version of its pipeline that an execution runs, and whether it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevisionFacts {
    /// The version: what the execution wrote down, else the pipeline as it is.
    pub wanted: Option<PipelineRevision>,
    /// What is kept of it.
    pub kept: Kept,
    /// The pipeline's generation when its spec says something else by now.
    pub superseded: Option<i64>,
}

/// What is kept of a version of a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kept {
    /// Not looked at: the execution ended, or it began before versions were kept.
    #[default]
    NotLookedAt,
    /// Nothing yet, and the pipeline still says the same.
    Absent,
    /// All of it.
    Whole,
    /// It cannot be had any more: why, and what to do.
    Lost(String),
}

impl RevisionFacts {
    /// Why nobody knows what the pipeline said, if so.
    #[must_use]
    pub fn lost(&self) -> Option<&str> {
        match &self.kept {
            Kept::Lost(why) => Some(why),
            Kept::NotLookedAt | Kept::Absent | Kept::Whole => None,
        }
    }
}

/// Other executions of the same pipeline that have not ended; empty when not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Siblings {
    /// The oldest that was there before this one.
    pub older: Option<String>,
    /// The newest that came after this one.
    pub newer: Option<String>,
}

/// An artifact as the registry has it.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundArtifact {
    /// Its digest.
    pub reference: ImageRef,
    /// Its files, in order.
    pub files: Vec<ArtifactFile>,
}

/// What is known of sources: of Git, and of objects of Flux that stand for one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GitFacts {
    /// The image to build in that the operator was installed with.
    pub builder: Option<ImageRef>,
    /// The commit that the ref of the pipeline names now; none when not asked.
    pub commit: Option<Result<String, GitFault>>,
    /// What the `GitRepository` of Flux that the pipeline names says; none when not asked.
    pub flux_commit: Option<Result<FluxCommit, FluxFault>>,
    /// What the `OCIRepository` of Flux that the pipeline names says; none when not asked.
    pub flux_artifact: Option<Result<FluxArtifact, FluxFault>>,
    /// What the registry has of the same build; none when not asked.
    pub earlier: Option<Result<FoundBuild, Fault>>,
}

/// Packages of a build that was done before.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundBuild {
    /// The packages.
    pub artifact: FoundArtifact,
    /// The execution that built them, `NAMESPACE/NAME`, as it wrote down itself.
    pub by: Option<String>,
    /// The version that it generated for them, if it did.
    pub version: Option<ArtifactsVersion>,
}

/// A release as the registry has it.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundRelease {
    /// The release.
    pub release: ImageRef,
    /// Its images.
    pub images: ReleaseImages,
    /// What each file of the artifact was found to be.
    pub files: Vec<ArtifactFile>,
}

/// Why something could not be had from a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not there, or it is not what it should be: the user has to change something.
    Absent(String),
    /// The registry refuses: the user has to change credentials or rights.
    Refused(String),
    /// The registry does not answer well: it may, later.
    Unreachable(String),
}

/// The Job of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum JobFacts {
    /// There is none.
    #[default]
    Absent,
    /// There is none, and the apiserver has just refused to make it.
    Refused {
        /// What it said.
        why: String,
    },
    /// An object of its name is there that this execution did not make.
    Foreign {
        /// Its name.
        name: String,
    },
    /// It works.
    Active {
        /// Name of the Job.
        name: String,
        /// UID of the Job.
        uid: String,
        /// What is known of its pod.
        pod: JobPod,
    },
    /// It ended.
    Ended {
        /// Name of the Job.
        name: String,
        /// UID of the Job.
        uid: String,
        /// How.
        end: JobEnd,
    },
}

/// The pod of a Job that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobPod {
    /// There is none yet: the apiserver takes a Job whose pod it then refuses.
    Missing {
        /// Since when the Job is there.
        since: Timestamp,
    },
    /// It does not run yet.
    Waits {
        /// What for.
        problem: String,
    },
    /// Nothing is known to be wrong with it.
    Works,
    /// The Job's time is over, and Kubernetes ends it: it may never, where the pod's node is gone.
    Stops {
        /// When its time was over.
        since: Timestamp,
    },
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEnd {
    /// The build made a release.
    Built {
        /// The release and its images, as the build says.
        release: ReleaseDigests,
    },
    /// The Git server was asked which commit a ref is.
    Resolved {
        /// The commit.
        commit: String,
    },
    /// Sources became packages.
    Packed {
        /// The packages, by the digest of their artifact.
        artifact: Sha256Digest,
        /// What unit tests and coverage came to.
        metrics: Vec<Metric>,
        /// What happened.
        message: String,
    },
    /// Sources did not become packages, and it is known what was measured until then.
    Unfit {
        /// What unit tests and coverage came to.
        metrics: Vec<Metric>,
        /// One word.
        reason: String,
        /// What happened and what to do.
        message: String,
    },
    /// It measured something: a gate decides what that means.
    Measured {
        /// What it measured.
        metrics: Vec<Metric>,
        /// What it says about it.
        message: String,
        /// Its report, by digest.
        report: Option<Sha256Digest>,
    },
    /// It passed.
    Passed {
        /// What it says about it.
        message: String,
    },
    /// It failed for a reason that lies in the user's input.
    Failed {
        /// One word.
        reason: String,
        /// What happened and what to do.
        message: String,
        /// Its report, by digest.
        report: Option<Sha256Digest>,
    },
    /// It failed for a reason that lies in the platform.
    Error {
        /// One word.
        reason: String,
        /// What happened.
        message: String,
    },
}

/// The digests that a build reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseDigests {
    /// The release, an index over both images.
    pub release: ImageRef,
    /// Its two images.
    pub images: ReleaseImages,
    /// The build's report.
    pub report: ImageRef,
}

/// Whether the admission policy that guards approvals is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// Not looked at: nothing depends on it now.
    #[default]
    NotLookedAt,
    /// Policies and bindings that deny are there.
    InForce {
        /// Since when all of them are as they are: what was asked before was judged by nobody, or by other rules.
        since: Timestamp,
        /// Since when the one that judges creations exists: who asked for an execution that is older is hearsay.
        creations_since: Timestamp,
    },
    /// Something is missing.
    Missing(String),
}

/// Facts that are worth reading for an execution in its present state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Look for executions that wait for the same environments.
    pub queue: bool,
    /// Look whether there may be such a pipeline beside the others.
    pub rival: bool,
    /// Look for other executions of the same pipeline.
    pub siblings: bool,
    /// Resolve the artifact in the registry.
    pub artifact: bool,
    /// Ask the Git server which commit the ref of the pipeline is, or Flux which one it has.
    pub commit: bool,
    /// Look in the registry for an earlier build with this tag, unless the step has a Job.
    pub earlier: Option<String>,
    /// Look for pipelines that have a dispatcher image to themselves.
    pub web_tiers: bool,
    /// Look for the Job of this step, and at what it left.
    pub job: Option<StepName>,
    /// Look whether the admission policies that guard this are in force.
    pub guard: Option<Guarded>,
}

/// Something that the apiserver judges by a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// The creation of an execution.
    Creation,
    /// A request with this annotation key; it rests on the creation.
    Request(&'static str),
}
