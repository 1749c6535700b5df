//! `Environment`: the author, publish and dispatcher tiers of one stage, and what is deployed on them.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::ResourceRequirements,
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{Condition, Time},
    },
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{LocalName, Span, none_seen},
    deploy::{CacheFlush, Origin, Scope},
    digest::ImageRef,
    guard::{MetricGuard, Watch},
    network::{Network, Route},
    restore::{OlderReleases, OnFailure, Restore, Revisions},
    variable::Variable,
};

/// The tiers of one stage of a program: an author, pairs of publish and dispatcher, and the release
/// that runs on them.
///
/// Until the first execution deploys a release to it, an Environment runs its bare base images. What it
/// runs afterwards is in `status.deployed`, and in the annotations of its StatefulSets.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "launchway.dev",
    version = "v1alpha1",
    kind = "Environment",
    namespaced,
    shortname = "env",
    category = "launchway",
    status = "EnvironmentStatus",
    doc = "The author, publish and dispatcher tiers of one stage, and the release that runs on them.",
    selectable = ".spec.type",
    scale(
        spec_replicas_path = ".spec.publish.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Deployed", type_ = "string", json_path = ".status.deployed.execution"),
    printcolumn(name = "Locked-By", type_ = "string", json_path = ".status.lock.execution"),
    printcolumn(name = "Pairs", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name may have at most 40 characters: names of pods and Services are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be a DNS label that begins with a letter: Services are named after it"),
    validation = Rule::new("(has(self.spec.author) && has(self.spec.author.storage)) == (has(oldSelf.spec.author) && has(oldSelf.spec.author.storage))").message("spec.author.storage cannot be added or taken away: a StatefulSet keeps its volumes; create another Environment"),
    validation = Rule::new("!(has(self.spec.rollout) && has(self.spec.rollout.onFailure) && self.spec.rollout.onFailure == 'Restore' && has(self.spec.author) && has(self.spec.author.storage)) || (has(self.spec.author.storage.olderReleases) && self.spec.author.storage.olderReleases == 'Accept')").message("spec.rollout.onFailure Restore: an author with a volume does not go back by itself, for its repository keeps what the newer release changed; use Hold, or set spec.author.storage.olderReleases to Accept if the base image or you take care of that"),
    validation = Rule::new("!has(self.spec.rollout) || !has(self.spec.rollout.guard) || (has(self.spec.rollout.strategy) ? self.spec.rollout.strategy == 'Rolling' : self.spec.type == 'Production')").message("spec.rollout.guard compares pairs of two releases, which only a Rolling rollout has: set spec.rollout.strategy to Rolling, or take the guard away"),
    validation = Rule::new("!has(self.spec.rollout) || !has(self.spec.rollout.guard) || duration(self.spec.rollout.guard.watch) + duration('60s') < duration(self.spec.rollout.readyTimeout)").message("spec.rollout.guard.watch has to be more than a minute shorter than spec.rollout.readyTimeout, which ends every wait of a rollout"),
)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSpec {
    /// Which stage this is. It decides the run modes (`dev`, `stage`, `prod`) and the default
    /// strategy, and it never changes.
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.type cannot be changed: create another Environment"))]
    #[serde(rename = "type")]
    pub type_: EnvironmentType,
    /// Base images that packages are added to. Default: the open stand-ins that the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// The author tier: always one pod.
    #[serde(default)]
    pub author: AuthorTier,
    /// The publish tier; its number of replicas is the number of publish+dispatcher pairs.
    #[serde(default)]
    pub publish: PublishTier,
    /// The dispatcher tier: one for each publish.
    #[serde(default)]
    pub dispatcher: DispatcherTier,
    /// How a release replaces another.
    #[serde(default)]
    pub rollout: Rollout,
    /// Whether executions may skip tests here: `Enabled` on production lets a full-stack or production-only pipeline run in an
    /// emergency, on stage a stage-only one.
    #[serde(default)]
    pub emergency_mode: EmergencyMode,
    /// As long as this is here, and its time is not over, nothing new is deployed; what runs stays, and a rollout that began goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// When deployments may begin. While a `Deny` window is open, or `Allow` windows exist and none is, executions wait
    /// before they deploy. A rollout that began is never cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 16))]
    pub windows: Vec<Window>,
    /// Environment variables for the containers. A change, also of a Secret that they refer to, is rolled out like a release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub variables: Vec<Variable>,
    /// How visitors and editors come in from outside of the cluster. Without it nothing is made for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// Who may reach the pods.
    #[serde(default)]
    pub network: Network,
}

/// Which stage an Environment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EnvironmentType {
    /// For developers; run mode `dev`.
    Development,
    /// Where releases are tested; run mode `stage`.
    Stage,
    /// What visitors see; run mode `prod`.
    Production,
}

impl EnvironmentType {
    /// The run mode of the type, as in `config.author.stage`.
    #[must_use]
    pub const fn run_mode(self) -> &'static str {
        match self {
            Self::Development => "dev",
            Self::Stage => "stage",
            Self::Production => "prod",
        }
    }
}

/// Whether executions may skip tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EmergencyMode {
    /// They may not.
    #[default]
    Disabled,
    /// They may, when whoever asks holds the verb `emergency` on the Pipeline.
    Enabled,
}

/// Why nothing new is deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// For people.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
    /// When it is over. Default: when somebody takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// A span of time that comes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Whether deployments may begin in it, or may not.
    pub kind: WindowKind,
    /// When it opens: minute, hour, day of month, month, day of week, as cron writes them.
    #[schemars(length(min = 9, max = 128))]
    pub schedule: String,
    /// How long it stays open.
    pub duration: Span,
    /// Zone of the schedule, by its IANA name.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z][A-Za-z0-9_+/-]*$"))]
    pub time_zone: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub reason: Option<String>,
}

/// What a window does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WindowKind {
    /// Deployments may begin in it.
    Allow,
    /// Deployments may not begin in it.
    Deny,
}

fn utc() -> String {
    "UTC".into()
}

/// Base images, by digest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// Base of the AEM image (author and publish), for example `registry.example.com/base/sling@sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aem: Option<ImageRef>,
    /// Base of the dispatcher image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatcher: Option<ImageRef>,
    /// Secrets of type `kubernetes.io/dockerconfigjson` that the pods pull with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<LocalName>,
    /// Whether the base images run as long as nothing was deployed.
    #[serde(default)]
    pub bare: Bare,
}

/// Whether base images run before a release does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Bare {
    /// They do, so that the Environment exists and answers; the first release replaces them.
    #[default]
    Enabled,
    /// They are not started: the first release brings the first pods.
    Disabled,
}

/// CPU and memory of a tier's containers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// What a node must have free, by resource name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub requests: BTreeMap<String, Quantity>,
    /// What a container may use, by resource name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub limits: BTreeMap<String, Quantity>,
}

impl From<&Resources> for ResourceRequirements {
    fn from(resources: &Resources) -> Self {
        let some = |map: &BTreeMap<String, Quantity>| (!map.is_empty()).then(|| map.clone());
        Self { requests: some(&resources.requests), limits: some(&resources.limits), claims: None }
    }
}

/// The author tier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorTier {
    /// CPU and memory.
    #[serde(default)]
    pub resources: Resources,
    /// A volume for the author's repository. Without it the content that authors write lives as long as the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
}

/// A volume claimed for the author.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.size == oldSelf.size && has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)").message("size and storageClassName of spec.author.storage cannot be changed: a StatefulSet keeps its volumes; create another Environment"))]
pub struct Storage {
    /// Size of the volume.
    pub size: Quantity,
    /// Storage class; default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// Whether the volume outlives the Environment: one of the same name finds it again. If not, it is deleted with it.
    #[serde(default = "yes")]
    pub retain: bool,
    /// What happens when an older release is to run on this volume: the repository keeps what newer packages changed,
    /// and the runtime does not extract older ones over them by itself.
    #[serde(default)]
    pub older_releases: OlderReleases,
}

/// The publish tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublishTier {
    /// Number of publish+dispatcher pairs. A HorizontalPodAutoscaler on the Environment drives it.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 50))]
    pub replicas: i32,
    /// CPU and memory.
    #[serde(default)]
    pub resources: Resources,
}

impl Default for PublishTier {
    fn default() -> Self {
        Self { replicas: one(), resources: Resources::default() }
    }
}

/// The dispatcher tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DispatcherTier {
    /// CPU and memory.
    #[serde(default)]
    pub resources: Resources,
    /// Seconds that a dispatcher goes on serving after it left the Service, so that no open request is cut.
    #[serde(default = "five")]
    #[schemars(range(min = 0, max = 600))]
    pub drain_seconds: i32,
    /// Paths that are requested once through a new dispatcher, and so from its publish, before
    /// visitors reach it: the first rendering of a page is slow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 512), regex(pattern = r"^/[^\s]*$")))]
    pub warm_up: Vec<String>,
}

impl Default for DispatcherTier {
    fn default() -> Self {
        Self { resources: Resources::default(), drain_seconds: five(), warm_up: vec![] }
    }
}

/// How a release replaces another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// `Rolling`: author first, then pair by pair. `AllAtOnce`: every pod together, with an outage.
    /// Default: Rolling for production, AllAtOnce otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Pairs that a Rolling rollout adds before it touches one that serves. 0 for a cluster without room.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1))]
    pub surge: i32,
    /// How long the author, or a pair, may take to become ready with the new release.
    #[serde(default = "fifteen_minutes")]
    pub ready_timeout: Span,
    /// What follows a rollout that fails.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Watches pairs that serve the new release before others are touched; for Rolling alone. Default: they are not watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<MetricGuard>,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: None,
            surge: one(),
            ready_timeout: fifteen_minutes(),
            on_failure: OnFailure::Hold,
            guard: None,
        }
    }
}

/// The order in which pods are replaced. Default: Rolling for production, AllAtOnce otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// Author first, then pair by pair; visitors notice nothing.
    Rolling,
    /// Every pod of every tier together: the quickest way, with an outage.
    AllAtOnce,
}

/// A service that variables are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Where editors work.
    Author,
    /// What dispatchers read from.
    Publish,
    /// What visitors reach.
    Dispatcher,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 3] = [Self::Author, Self::Publish, Self::Dispatcher];

    /// The name in labels and object names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Author => "author",
            Self::Publish => "publish",
            Self::Dispatcher => "dispatcher",
        }
    }
}

/// What runs on the Environment and what is being done to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// The `metadata.generation` that this status describes.
    #[serde(default = "none_seen")]
    pub observed_generation: i64,
    /// `Ready`, `Reconciling`, `Stalled`, `Drifted`.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]), length(max = 16))]
    pub conditions: Vec<Condition>,
    /// The release that every pod of the Environment runs, unless a rollout is going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed: Option<Deployed>,
    /// The release that an execution wants here. Written by that execution, under its lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// How far the rollout is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// The last way back, until another release is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,
    /// The execution that has this Environment to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// Number of publish+dispatcher pairs that exist; during a rollout, without the one that it adds for its time.
    #[serde(default)]
    pub replicas: i32,
    /// Number of pairs that serve.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Label selector of the publish pods, for a HorizontalPodAutoscaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Addresses, inside of the cluster and by its route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Urls>,
}

/// A release by its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseImages {
    /// Image of author and publish.
    pub aem: ImageRef,
    /// Image of the dispatcher.
    pub dispatcher: ImageRef,
}

/// What was deployed, by whom, when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    /// Name of the PipelineExecution.
    pub execution: String,
    /// Its UID.
    pub uid: String,
    /// The release.
    pub release: ImageRef,
    /// The two images that run: those of the release, but for `webTier`.
    pub images: ReleaseImages,
    /// The deployment that the dispatcher image came with, if it was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_tier: Option<Origin>,
    /// What the dispatchers dropped from their caches before they served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheFlush>,
    /// When the release was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Time>,
    /// When the last pod became ready with it.
    pub at: Time,
    /// The pod templates that it ran with last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revisions: Option<Revisions>,
}

/// The release that an execution wants on the Environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Name of the PipelineExecution.
    pub execution: String,
    /// Its UID.
    pub uid: String,
    /// The release.
    pub release: ImageRef,
    /// Its two images.
    pub images: ReleaseImages,
    /// Which of them it brings.
    #[serde(default)]
    pub scope: Scope,
    /// Whether dispatchers leave the Service before an AllAtOnce rollout replaces publishes.
    #[serde(default = "yes")]
    pub detach: bool,
    /// What the dispatchers drop from their caches before they serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheFlush>,
    /// When the release was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Time>,
    /// When it was asked for.
    pub since: Time,
    /// After how many pairs the rollout pauses, until somebody resumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_after: Option<i32>,
}

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// Whether it goes on, is over, or stopped where it was.
    pub state: RolloutState,
    /// What it does now: `Start`, `Author`, `Surge`, `Watch Surge`, `Grow`, `Pair 1`, `Settle`, `Detach`, `AllAtOnce`, `Complete`.
    #[schemars(length(max = 32))]
    pub phase: String,
    /// When that began: the ready time-out counts from here.
    pub since: Time,
    /// Hash of the pod templates that it rolls out.
    #[schemars(length(max = 16))]
    pub revision: String,
    /// Pairs that serve the new revision, and pairs in all.
    #[serde(default)]
    pub updated: i32,
    /// Pairs that will serve it.
    #[serde(default)]
    pub total: i32,
    /// What it waits for, or why it stopped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When the message was written. What pods say changes every few seconds; it is told every 30 s at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_at: Option<Time>,
    /// What the metric guard watches, or watched last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
}

/// State of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutState {
    /// Pods are being replaced.
    Progressing,
    /// It waits for somebody before the next pair.
    Paused,
    /// Every pod runs the revision.
    Complete,
    /// It stopped where it was: pods that it had not reached go on with the previous release.
    Failed,
    /// It failed, and what ran before comes back.
    RollingBack,
    /// It failed, and every pod runs what ran before.
    RolledBack,
}

/// An execution's claim on an Environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lock {
    /// Name of the PipelineExecution.
    pub execution: String,
    /// Its UID: another execution of the same name does not hold the lock.
    pub uid: String,
    /// Since when.
    pub since: Time,
}

/// Addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Urls {
    /// Where editors work.
    pub author: String,
    /// What visitors reach: the dispatchers' Service.
    pub dispatcher: String,
    /// The first address of `spec.route` for visitors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub site: Option<String>,
    /// The first address of `spec.route.author`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub editors: Option<String>,
}

const fn yes() -> bool {
    true
}

const fn one() -> i32 {
    1
}

const fn five() -> i32 {
    5
}

const fn fifteen_minutes() -> Span {
    Span::from_secs(900)
}
