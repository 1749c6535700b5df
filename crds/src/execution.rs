//! `PipelineExecution`: one run of a pipeline. Its spec never changes; its status is the record of what happened.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{LocalName, none_seen},
    digest::{ImageRef, Sha256Digest},
    environment::ReleaseImages,
    git::{BuildRecord, Commit},
    notification::{UNTOLD_MAX, Untold},
    revision::PipelineRevision,
    shared::Shared,
    step::{Metric, StepName, StepState},
};

/// One run of a pipeline.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "launchway.dev",
    version = "v1alpha1",
    kind = "PipelineExecution",
    plural = "pipelineexecutions",
    namespaced,
    shortname = "pe",
    category = "launchway",
    status = "PipelineExecutionStatus",
    doc = "One run of a Pipeline: what it was asked to do, and the record of what happened.",
    selectable = ".spec.pipelineRef.name",
    selectable = ".status.state",
    printcolumn(name = "Pipeline", type_ = "string", json_path = ".spec.pipelineRef.name"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Waiting-For", type_ = "string", json_path = ".status.waitingFor.why"),
    printcolumn(name = "Release", type_ = "string", json_path = ".status.release", priority = 1),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.requestedBy", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Succeeded')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name may have at most 63 characters: its Jobs carry it as a label"),
    validation = Rule::new("self.spec.mode != 'Emergency' || self.spec.?reason.orValue('') != ''").message("spec.mode Emergency needs spec.reason: say why the tests are skipped"),
    validation = Rule::new("[has(self.spec.artifact), has(self.spec.commit), has(self.spec.sourceExecution), has(self.spec.reExecute), has(self.spec.rollBackTo)].filter(given, given).size() <= 1").message("name one thing to deploy: spec.artifact, commit, sourceExecution, reExecute or rollBackTo"),
    validation = Rule::new("!has(self.spec.change) || !(has(self.spec.sourceExecution) || has(self.spec.reExecute) || has(self.spec.rollBackTo))").message("spec.change starts an execution of new packages: it does not go with sourceExecution, reExecute or rollBackTo"),
    validation = Rule::new("self.spec == oldSelf.spec").message("the spec of a PipelineExecution cannot be changed: create another one"),
)]
#[serde(rename_all = "camelCase")]
pub struct PipelineExecutionSpec {
    /// The pipeline to run.
    pub pipeline_ref: LocalName,
    /// The packages to run it with. Default: what the pipeline's tag names when the execution begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactChoice>,
    /// The commit to build, in whole, on pipelines with `spec.source.git`. Default: what the branch or the tag of the
    /// pipeline names when the execution begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 40, max = 64), regex(pattern = r"^([0-9a-f]{40}|[0-9a-f]{64})$"))]
    pub commit: Option<String>,
    /// Build even if the same build was done before.
    #[serde(default)]
    pub rebuild: bool,
    /// Emergency skips the tests of security and performance and the audit, on a stage-only pipeline every image test, too. The
    /// Environment has to allow it, and the one who asks needs the verb `emergency` on the Pipeline.
    #[serde(default)]
    pub mode: Mode,
    /// Why: for an emergency it has to be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub reason: Option<String>,
    /// The stage-only execution whose release goes to production. Default, on a pipeline of type ProductionOnly: the last one
    /// that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub source_execution: Option<String>,
    /// The last execution of this pipeline, whose deployment to production is done again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub re_execute: Option<String>,
    /// An earlier execution of this pipeline that succeeded: production goes back to its release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub roll_back_to: Option<String>,
    /// Deploy the release of `sourceExecution` even if it was made before what production runs.
    #[serde(default)]
    pub allow_older: bool,
    /// The revision of the source whose appearance started this execution. Only the operator names one: it takes the verb
    /// `trigger` on the Pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub change: Option<String>,
    /// Who asked for it: stamped by the apiserver where the cluster can, checked to be the caller everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub requested_by: Option<String>,
}

impl PipelineExecutionSpec {
    /// What an execution of a pipeline is asked to do when nothing else is said than who asks.
    #[must_use]
    pub fn usual(pipeline: impl Into<String>, requested_by: impl Into<String>) -> Self {
        Self {
            pipeline_ref: LocalName { name: pipeline.into() },
            artifact: None,
            commit: None,
            rebuild: false,
            mode: Mode::Normal,
            reason: None,
            source_execution: None,
            re_execute: None,
            roll_back_to: None,
            allow_older: false,
            change: None,
            requested_by: Some(requested_by.into()),
        }
    }
}

/// How an execution treats tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Every test of the pipeline.
    #[default]
    Normal,
    /// Without the tests that take long; what was skipped is remembered until it passes.
    Emergency,
}

/// What started an execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Trigger {
    /// A person or a tool created it.
    #[default]
    Manual,
    /// A change of the source of a pipeline with `trigger: OnChange`.
    OnChange,
    /// A person chose a stage-only execution for production.
    Promote,
    /// A person had a deployment to production done again.
    ReExecute,
    /// A person had production go back to an earlier release.
    RollBack,
}

/// An artifact of the pipeline's repository: by digest or by tag, not both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.digest) != has(self.tag)").message("name the artifact by digest or by tag: exactly one of them"))]
pub struct ArtifactChoice {
    /// Digest of the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Sha256Digest>,
    /// Tag of the artifact, resolved once, when the execution begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"))]
    pub tag: Option<String>,
}

/// The most bytes that a status can have as JSON, whatever happens: etcd takes 1.5 MiB in one request. A usual one has
/// about 10,000.
pub const STATUS_MAX: usize = 640 * 1024;

/// The record of a run. Every list and text in it is bounded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineExecutionStatus {
    /// The `metadata.generation` that this status describes.
    #[serde(default = "none_seen")]
    pub observed_generation: i64,
    /// `Succeeded` (Unknown while it runs), `Waiting`, `Reconciling`, `Stalled`; `Emergency` and `PipelineChanged` where they
    /// apply.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]), length(max = 16))]
    pub conditions: Vec<Condition>,
    /// Summary for lists and field selectors: `Running`, `Waiting`, or the reason of the `Succeeded` condition.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub state: String,
    /// The step that runs or waits, or that ended the execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// What started it.
    #[serde(default)]
    pub trigger: Trigger,
    /// The version of the pipeline that it runs: a later change of the pipeline applies to the next execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_revision: Option<PipelineRevision>,
    /// Environments that this execution locks and deploys to, as the pipeline named them when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments: Option<Environments>,
    /// The commit that is built, on pipelines with `spec.source.git`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// How the packages were made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildRecord>,
    /// The packages, by digest, and what each was found to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// The execution whose release is taken, when nothing is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRecord>,
    /// What is tested on stage, approved, and deployed to production: one digest for both images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ImageRef>,
    /// The two images of the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ReleaseImages>,
    /// When the release was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Time>,
    /// Every step of the pipeline, in order, from the first write on.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]), length(max = 24))]
    pub steps: Vec<Step>,
    /// Approvals as they were accepted: a later change of an annotation means nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 16))]
    pub approvals: Vec<ApprovalRecord>,
    /// Failing metrics that somebody accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = StepName::GATES.len()))]
    pub overrides: Vec<OverrideRecord>,
    /// The time that somebody chose for production.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<ScheduleRecord>,
    /// What the execution waits for, who can move it on, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// What happened and was not told yet to everybody whom `spec.notifications` of the pipeline names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = UNTOLD_MAX))]
    pub untold: Vec<Untold>,
    /// When the execution began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}

/// Names of the Environments of an execution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Environments {
    /// Where the release is tested before it goes to production.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub stage: Option<String>,
    /// Where the release is deployed and tested and does not leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub deployment: Option<String>,
    /// Where the release goes in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub production: Option<String>,
}

impl Environments {
    /// Where the release is tested.
    #[must_use]
    pub fn tested(&self) -> Option<&str> {
        self.stage.as_deref().or(self.deployment.as_deref())
    }

    /// All of them, in the order in which they are locked.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        [&self.stage, &self.deployment, &self.production].into_iter().flatten().map(String::as_str)
    }
}

/// The execution whose release another one takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceRecord {
    /// Its pipeline.
    #[schemars(length(max = 63))]
    pub pipeline: String,
    /// Its name.
    #[schemars(length(max = 63))]
    pub execution: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Tests that its release never had because of an emergency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"), length(max = 24))]
    pub skipped: Vec<StepName>,
}

/// The packages of an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// The artifact, by digest.
    pub reference: ImageRef,
    /// Its files and what each was found to be.
    #[serde(default, skip_serializing_if = "Shared::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 64))]
    pub files: Shared<ArtifactFile>,
}

/// How many files of an artifact status lists; the rest is in the build's report.
pub const FILES_MAX: usize = 64;

/// One file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactFile {
    /// File name.
    #[schemars(length(max = 255))]
    pub name: String,
    /// Digest of the file.
    pub sha256: Sha256Digest,
    /// Size in bytes.
    pub size: i64,
    /// `content-package`, `dispatcher`, `ignored` or `rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub kind: Option<String>,
    /// `group:name:version` of a content package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub id: Option<String>,
    /// Why the file was ignored or rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub reason: Option<String>,
}

/// One step of an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its name.
    pub name: StepName,
    /// The Environment that it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Its state.
    pub state: StepState,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// When it will be ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// The object that does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<Child>,
    /// One word for its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// What happened and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// What it measured.
    #[serde(default, skip_serializing_if = "Shared::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 40))]
    pub metrics: Shared<Metric>,
    /// Its report, an OCI artifact: `kubectl launchway report` reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ImageRef>,
}

impl Step {
    /// A step whose turn has not come.
    #[must_use]
    pub fn new(name: StepName, environment: Option<String>) -> Self {
        Self {
            name,
            environment,
            state: StepState::NotStarted,
            started_at: None,
            finished_at: None,
            deadline: None,
            child: None,
            reason: None,
            message: None,
            metrics: Shared::default(),
            report: None,
        }
    }
}

/// An object that does a step. An object of the same name and another UID is not it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Child {
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// UID of the object.
    pub uid: String,
}

/// An approval as it was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalRecord {
    /// The step that it was for.
    pub step: StepName,
    /// Who approved.
    #[schemars(length(max = 256))]
    pub by: String,
    /// When the operator accepted it.
    pub at: Time,
    /// What was approved.
    pub release: Sha256Digest,
}

/// Failing metrics of a step that somebody accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OverrideRecord {
    /// The step.
    pub step: StepName,
    /// Who.
    #[schemars(length(max = 256))]
    pub by: String,
    /// When the operator accepted it.
    pub at: Time,
    /// Names of the metrics.
    #[schemars(length(max = 40), inner(length(max = 64)))]
    pub metrics: Vec<String>,
}

/// The time that somebody chose for production.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleRecord {
    /// Who.
    #[schemars(length(max = 256))]
    pub by: String,
    /// When.
    pub at: Time,
    /// As it was written: `now`, or a date and time with its zone.
    #[schemars(length(max = 64))]
    pub text: String,
}

/// What an execution waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingFor {
    /// The step that waits.
    pub step: StepName,
    /// What it waits for.
    #[schemars(length(max = 1024))]
    pub why: String,
    /// Since when.
    pub since: Time,
    /// Until when, if there is an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Since when the end is near: it is told once, a day before, of a short wait when a fifth of it is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiring_since: Option<Time>,
    /// Who can move it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub who: Option<String>,
    /// The command to type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub command: Option<String>,
}
