//! `Pipeline`: where artifacts come from, which environments they go to, which gates they pass.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::gates::{Gates, ImportantFailures, MetricThreshold, Scanner};
pub use crate::history::{History, HistoryImages};
pub use crate::layer_encoding::LayerEncoding;
pub use crate::ledger::{Debt, ImagesState, LEDGER_MAX, LedgerEntry};
use crate::{
    common::{LocalName, Span, none_seen},
    deploy::{CachePaths, DeployOptions},
    digest::ImageRef,
    git::GitSource,
    notification::{SINKS_MAX, Sink},
    pause::Pause,
    trigger::{OnChange, PipelineTrigger, SourceSeen},
};

/// The way of a project's packages to production.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "launchway.dev",
    version = "v1alpha1",
    kind = "Pipeline",
    namespaced,
    shortname = "pl",
    category = "launchway",
    status = "PipelineStatus",
    doc = "The way of a project's packages through stage and its tests to production.",
    selectable = ".spec.type",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Stage", type_ = "string", json_path = ".spec.stage.environment"),
    printcolumn(name = "Production", type_ = "string", json_path = ".spec.production.environment"),
    printcolumn(name = "Last", type_ = "string", json_path = ".status.ledger[0].name"),
    printcolumn(name = "Result", type_ = "string", json_path = ".status.ledger[0].result"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Trigger", type_ = "string", json_path = ".spec.trigger", priority = 1),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.source.revision", priority = 1),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = 1),
    validation = Rule::new("!has(self.spec.stage) || !has(self.spec.production) || self.spec.stage.environment != self.spec.production.environment").message("spec.stage.environment and spec.production.environment must be two Environments"),
    validation = Rule::new("has(self.spec.stage) == (self.spec.type in ['FullStack', 'StageOnly'])").message("spec.stage belongs to pipelines of type FullStack and StageOnly: they need it, the others cannot have it"),
    validation = Rule::new("self.spec.type == 'WebTier' || has(self.spec.production) == (self.spec.type in ['FullStack', 'ProductionOnly'])").message("spec.production belongs to pipelines of type FullStack and ProductionOnly: they need it, the others cannot have it"),
    validation = Rule::new("self.spec.type == 'WebTier' || has(self.spec.deployment) == (self.spec.type == 'Deployment')").message("spec.deployment belongs to pipelines of type Deployment: they need it, the others cannot have it"),
    validation = Rule::new("self.spec.type != 'WebTier' || has(self.spec.deployment) != has(self.spec.production)").message("a pipeline of type WebTier goes to one Environment: name it in spec.deployment, or one of type Production in spec.production"),
    validation = Rule::new("has(self.spec.images) == (self.spec.type in ['FullStack', 'StageOnly', 'Deployment', 'WebTier'])").message("spec.images belongs to pipelines that build images (FullStack, StageOnly, Deployment, WebTier): they need it, the others cannot have it"),
    validation = Rule::new("has(self.spec.source.pipeline) == (self.spec.type == 'ProductionOnly')").message("a pipeline of type ProductionOnly takes its release from spec.source.pipeline; the others take packages from spec.source.artifact or build them from spec.source.git"),
    validation = Rule::new("!has(self.spec.source.git) || has(self.spec.images) || has(self.spec.source.git.artifacts)").message("spec.source.git.artifacts says where the packages go: a pipeline without spec.images needs it"),
    validation = Rule::new("!has(self.spec.source.git) || self.spec.source.git.builder.projectVersion == 'Keep' || self.spec.type in ['FullStack', 'StageOnly']").message("spec.source.git.builder.projectVersion: Generate is for pipelines that can lead to production (FullStack, StageOnly); the others build the committed version"),
    validation = Rule::new("self.spec.trigger != 'OnChange' || self.spec.type != 'ProductionOnly'").message("spec.trigger: a pipeline of type ProductionOnly never starts by itself; let its stage-only pipeline start on changes"),
    validation = Rule::new("self.spec.history.images == 'Keep' || self.spec.type != 'CodeQuality'").message("spec.history.images: a pipeline of type CodeQuality makes no images that could be deleted"),
    validation = Rule::new("!has(self.spec.onChange) || self.spec.trigger == 'OnChange'").message("spec.onChange says how changes are noticed: it needs spec.trigger OnChange"),
)]
#[serde(rename_all = "camelCase")]
pub struct PipelineSpec {
    /// What kind of pipeline this is; it never changes.
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.type cannot be changed: create another Pipeline"))]
    #[serde(rename = "type")]
    pub type_: PipelineType,
    /// Where the packages come from.
    pub source: Source,
    /// Where the images go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Images>,
    /// Deployment to stage and the tests there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Deployment to an Environment that leads nowhere else, of any type but Production.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
    /// Approval and deployment to production.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub production: Option<Production>,
    /// What happens when a metric misses its threshold.
    #[serde(default)]
    pub gates: Gates,
    /// What a new execution does while another one of this pipeline runs.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// What starts executions. `Manual`: people and tools alone. `OnChange`: a change of the source, too.
    #[serde(default)]
    pub trigger: PipelineTrigger,
    /// How changes of the source are noticed, with `trigger: OnChange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_change: Option<OnChange>,
    /// Holds executions before they begin, and changes of the source until it ends; executions that run go on.
    #[serde(default)]
    pub suspend: bool,
    /// Who is told what becomes of executions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = SINKS_MAX), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["url"]))]
    pub notifications: Vec<Sink>,
    /// How many executions that ended are kept, and what becomes of the images of others.
    #[serde(default)]
    pub history: History,
    /// How long a deployment waits while its Environment is held or its windows are closed, before the execution is cancelled.
    #[serde(default = "two_weeks")]
    pub closed_timeout: Span,
    /// How long the Build Images Job may take.
    #[serde(default = "half_an_hour")]
    pub build_timeout: Span,
}

impl PipelineSpec {
    /// The place in which releases of this pipeline are tested: the name of its Environment and the tests.
    #[must_use]
    pub fn tested_on(&self) -> Option<(&str, &Tests)> {
        let stage = self.stage.as_ref().map(|stage| (stage.environment.as_str(), &stage.tests));
        stage.or_else(|| self.deployment.as_ref().map(|place| (place.environment.as_str(), &place.tests)))
    }
}

/// Kind of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PipelineType {
    /// Stage, its tests, then production.
    FullStack,
    /// The first half of a full-stack pipeline: stage and its tests.
    StageOnly,
    /// The second half: a release that a stage-only pipeline tested goes to production, and nothing is built.
    ProductionOnly,
    /// One Environment that leads nowhere else, such as development.
    Deployment,
    /// The package checks alone: nothing is built or deployed.
    CodeQuality,
    /// The dispatcher of one Environment alone, which then belongs to this pipeline: others leave its image as it is.
    WebTier,
}

/// What a new execution does while another one of its pipeline runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Concurrency {
    /// It waits until the other one has ended.
    #[default]
    Queue,
    /// It takes the other one's place: that is cancelled, unless it deploys just then or waits for production.
    Replace,
    /// It fails.
    Refuse,
}

/// Where packages, or a release, come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("[has(self.artifact), has(self.git), has(self.pipeline)].filter(given, given).size() == 1").message("name spec.source.artifact, spec.source.git or spec.source.pipeline: exactly one of them"))]
pub struct Source {
    /// An OCI artifact with one layer for each `target/*.zip`, as `kubectl launchway push` makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactSource>,
    /// A Git repository: packages are built from its sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// The stage-only pipeline whose tested releases go to production: the last one, unless the execution names another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub pipeline: Option<String>,
}

/// A repository of artifacts. The pipeline names it, or an object of Flux does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.repository) != has(self.fluxRef)").message("name spec.source.artifact.repository or spec.source.artifact.fluxRef: exactly one of them"),
    validation = Rule::new("!has(self.fluxRef) || !has(self.tag)").message("spec.source.artifact.tag: with spec.source.artifact.fluxRef the OCIRepository says which; leave it out")
)]
pub struct ArtifactSource {
    /// Registry and repository, such as `registry.example.com/wknd/artifacts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 400), regex(pattern = r"^[^/@\s]+/[^@\s]+$"))]
    pub repository: Option<String>,
    /// Instead of a repository: an `OCIRepository` of Flux (`source.toolkit.fluxcd.io`) of the same namespace. It says which
    /// repository and which digest; what is there has to have the form of `kubectl launchway push`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flux_ref: Option<LocalName>,
    /// The tag that an execution takes when it names no artifact itself. Default: `latest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"))]
    pub tag: Option<String>,
    /// Secret of type `kubernetes.io/dockerconfigjson` to read with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalName>,
    /// Speak plain HTTP to this registry: credentials and packages cross the network unprotected.
    #[serde(default, rename = "plainHTTP")]
    pub plain_http: bool,
}

impl ArtifactSource {
    /// The tag that an execution takes when nothing else is named.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }
}

/// A repository of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Images {
    /// Registry and repository, such as `registry.example.com/wknd/images`. Both images and the release go here.
    #[schemars(length(min = 3, max = 400), regex(pattern = r"^[^/@\s]+/[^@\s]+$"))]
    pub repository: String,
    /// Secret of type `kubernetes.io/dockerconfigjson` to read and write with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalName>,
    /// Speak plain HTTP to this registry.
    #[serde(default, rename = "plainHTTP")]
    pub plain_http: bool,
    /// Dependencies that the base image satisfies: `group` or `group:name`. A package that depends on
    /// anything else that is not part of the artifact is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    pub provided_packages: Vec<String>,
    /// How the layers of the images are stored. Another encoding is another release, with the same content.
    #[serde(default)]
    pub layer_encoding: LayerEncoding,
    /// Signs the provenance of every release that is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
}

/// The file of a signing Secret that has the private key.
pub const SIGNING_KEY: &str = "key.pem";

/// What the provenance of releases is signed with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signing {
    /// Secret whose key `key.pem` is an unencrypted private key for ECDSA on P-256, as PKCS#8 in PEM.
    pub secret_ref: LocalName,
}

/// Deployment to stage and the tests there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// Name of the Environment of type Stage.
    #[schemars(length(min = 1, max = 40))]
    pub environment: String,
    /// How the release is deployed.
    #[serde(default)]
    pub deploy: DeployOptions,
    /// Approval after the deployment, before the tests.
    #[serde(default)]
    pub approval: StageApproval,
    /// Tests that every release has to pass.
    #[serde(default)]
    pub tests: Tests,
}

/// Deployment to an Environment that leads nowhere else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deployment {
    /// Name of the Environment, of any type but Production.
    #[schemars(length(min = 1, max = 40))]
    pub environment: String,
    /// How the release is deployed.
    #[serde(default)]
    pub deploy: DeployOptions,
    /// Tests that every release has to pass.
    #[serde(default)]
    pub tests: Tests,
}

/// A person's word after the deployment to stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageApproval {
    /// Whether somebody has to approve.
    #[serde(default)]
    pub required: bool,
    /// How long an execution waits for it before it is cancelled.
    #[serde(default = "one_week")]
    pub timeout: Span,
}

impl Default for StageApproval {
    fn default() -> Self {
        Self { required: false, timeout: one_week() }
    }
}

/// Tests of a release on stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tests {
    /// Secret with the keys `username` and `password` of a user for tests, for the product, functional, UI and audit images:
    /// they find it as `AEM_AUTHOR_USERNAME`, `AEM_AUTHOR_PASSWORD`, `AEM_PUBLISH_USERNAME` and `AEM_PUBLISH_PASSWORD`. The
    /// operator never reads it. A test whose Secret or key is missing does not start, says so, and ends after its `timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_secret_ref: Option<LocalName>,
    /// Pages that must answer through stage's dispatcher. Without any, the step is Incomplete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub smoke: Vec<SmokeCheck>,
    /// Requests that an AEM or Sling site must refuse are sent through the dispatcher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<SecurityTest>,
    /// Pages are requested as many visitors would, and what was measured is compared with thresholds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<PerformanceTest>,
    /// The product's test image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<TestImage>,
    /// The project's own test image. Without it, the step is Incomplete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functional: Option<TestImage>,
    /// The project's tests in a browser: what their JUnit XML says decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ui: Option<TestImage>,
    /// An image that rates pages. Its metrics are informational: it never fails an execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<TestImage>,
}

/// The built-in security test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityTest {
    /// Checks that do not apply to this site, by the names of their metrics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40), inner(length(min = 1, max = 64)))]
    pub skip: Vec<String>,
}

/// The built-in performance test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.pages.map(set, set.weight).sum() == 100").message("the weights of all sets of pages must add up to 100"))]
pub struct PerformanceTest {
    /// Which pages, and how often.
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pages: Vec<PageSet>,
    /// How long pages are requested. Cloud Manager does it for 30 minutes.
    #[serde(default = "ten_minutes")]
    pub duration: Span,
    /// Visitors at once.
    #[serde(default = "ten_visitors")]
    #[schemars(range(min = 1, max = 200))]
    pub visitors: i32,
    /// Page views that are begun each minute; without it each visitor asks again at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60000))]
    pub pages_per_minute: Option<i32>,
    /// What is good enough.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// Secret with the keys `username` and `password` of the user that visitors are, for pages that ask for one. Default:
    /// nobody in particular. The operator never reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_secret_ref: Option<LocalName>,
}

/// Pages of one kind and their share of all views.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PageSet {
    /// Which kind.
    pub name: PageSetName,
    /// Percent of all views.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i32,
    /// Paths, with a leading slash, and queries.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 1024), regex(pattern = r"^/[^\s]*$")))]
    pub paths: Vec<String>,
}

/// Cloud Manager's three kinds of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PageSetName {
    /// What most visitors ask for.
    Popular,
    /// Everything else.
    Other,
    /// What came with this release.
    New,
}

/// Thresholds of the performance test. The defaults are Cloud Manager's where it states a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Thresholds {
    /// `error_rate`, critical: less than so many percent of page views fail.
    #[schemars(range(min = 1, max = 100))]
    pub error_rate_percent: i32,
    /// `response_time`, important: 95 of 100 pages come in less than so many milliseconds.
    #[schemars(range(min = 1, max = 60000))]
    pub response_time_ms: i32,
    /// `peak_resp_time`, important: every page comes in less than so many milliseconds.
    #[schemars(range(min = 1, max = 60000))]
    pub peak_response_ms: i32,
    /// `views_per_minute`, important: at least so many.
    #[schemars(range(min = 0, max = 60000))]
    pub pages_per_minute: i32,
    /// `requests_per_minute`, informational: less than so many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: i32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            error_rate_percent: 2,
            response_time_ms: 3000,
            peak_response_ms: 18_000,
            pages_per_minute: 200,
            requests_per_minute: 6000,
        }
    }
}

/// One page and what it must answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SmokeCheck {
    /// Path, with a leading slash, and query.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[^\s]*$"))]
    pub path: String,
    /// Status that the answer must have.
    #[serde(default = "ok")]
    #[schemars(range(min = 100, max = 599))]
    pub status: i32,
    /// Text that the answer must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub contains: Option<String>,
}

/// A test as an image: it gets stage's address in its environment and passes when it exits with 0.
///
/// `LAUNCHWAY_TEST_URL` is the dispatcher's address, `LAUNCHWAY_AUTHOR_URL` the author's,
/// `LAUNCHWAY_RELEASE` the release under test. What it writes to `/dev/termination-log` becomes the step's message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestImage {
    /// The image, by digest.
    pub image: ImageRef,
    /// Further environment variables, readable by everyone who can read the Pipeline. Names of the operator's own win; those
    /// of a login do so with `loginSecretRef` alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50, "additionalProperties" = {"type": "string", "maxLength": 2048}))]
    pub variables: BTreeMap<String, String>,
    /// How long it may take.
    #[serde(default = "half_an_hour")]
    pub timeout: Span,
}

/// Approval and deployment to production.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Production {
    /// Name of the Environment of type Production.
    #[schemars(length(min = 1, max = 40))]
    pub environment: String,
    /// How the release is deployed.
    #[serde(default)]
    pub deploy: CachePaths,
    /// Approval before anything of production is touched.
    #[serde(default)]
    pub approval: Approval,
    /// A time for the deployment, chosen by a person after the approval.
    #[serde(default)]
    pub schedule: Wait,
    /// The go of the support organisation, after the time has come.
    #[serde(default)]
    pub managed: Wait,
    /// Pauses the deployment between two pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
}

/// A wait for somebody's word that a pipeline may ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Wait {
    /// Whether executions wait here.
    #[serde(default)]
    pub required: bool,
    /// How long an execution waits for somebody's word before it is cancelled.
    #[serde(default = "two_weeks")]
    pub timeout: Span,
}

impl Default for Wait {
    fn default() -> Self {
        Self { required: false, timeout: two_weeks() }
    }
}

/// A person's word before production.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Whether somebody has to approve.
    #[serde(default = "yes")]
    pub required: bool,
    /// How long an execution waits for it before it is cancelled.
    #[serde(default = "two_weeks")]
    pub timeout: Span,
}

impl Default for Approval {
    fn default() -> Self {
        Self { required: yes(), timeout: two_weeks() }
    }
}

/// What is known of a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineStatus {
    /// The `metadata.generation` that this status describes.
    #[serde(default = "none_seen")]
    pub observed_generation: i64,
    /// `Ready`, `Reconciling`, `Stalled`; `SourceWatched` with `trigger: OnChange`; `ImagesDeleted` with
    /// `history.images: Delete`.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]), length(max = 16))]
    pub conditions: Vec<Condition>,
    /// Executions that ended, newest first: one that is created again under its old name does not run again. The last two
    /// releases that passed stay, however many executions fail after them.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 100))]
    pub ledger: Vec<LedgerEntry>,
    /// Tests that an emergency skipped, of a release that reached production or passed, and that no later execution has
    /// passed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["step"]), length(max = 24))]
    pub debt: Vec<Debt>,
    /// What is known of the source of a pipeline that starts on changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceSeen>,
}

const fn ok() -> i32 {
    200
}

const fn yes() -> bool {
    true
}

const fn ten_minutes() -> Span {
    Span::from_secs(600)
}

const fn ten_visitors() -> i32 {
    10
}

const fn half_an_hour() -> Span {
    Span::from_secs(1800)
}

/// Cloud Manager's time-out of an approval on stage.
const fn one_week() -> Span {
    Span::from_secs(7 * 24 * 3600)
}

/// Cloud Manager's time-out of an approval for production.
const fn two_weeks() -> Span {
    Span::from_secs(14 * 24 * 3600)
}
