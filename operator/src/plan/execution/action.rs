//! Every effect that an execution can have. Each can be repeated: a second time changes nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use launchway_crds::{
    common::{LocalName, Span},
    digest::{ImageRef, Sha256Digest},
    environment::Target,
    git::{Commit, GitSource, PackageRepository, RemoteRef},
    pipeline::{
        LayerEncoding, LedgerEntry, PerformanceTest, PipelineSpec, Scanner, SecurityTest, SmokeCheck, TestImage,
    },
    revision::PipelineRevision,
    step::StepName,
    version::ArtifactsVersion,
};

use super::ledger::TestedSteps;

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Keep the version of the pipeline that this execution runs.
    KeepRevision {
        /// The pipeline, as owner of what is kept.
        owner: Box<OwnerReference>,
        /// What is kept.
        spec: Box<PipelineSpec>,
        /// The version.
        revision: PipelineRevision,
    },
    /// Claim an Environment for this execution, if nobody has it.
    Lock {
        /// Name of the Environment.
        environment: String,
    },
    /// Give an Environment back, if this execution has it.
    Unlock {
        /// Name of the Environment.
        environment: String,
    },
    /// Make a release the target of an Environment that this execution has locked.
    SetTarget {
        /// Name of the Environment.
        environment: String,
        /// The release and who wants it.
        target: Box<Target>,
    },
    /// Let the rollout of this execution's release go on, if it pauses.
    Resume {
        /// Name of the Environment.
        environment: String,
    },
    /// Stop the rollout of this execution's release where it pauses.
    Stop {
        /// Name of the Environment.
        environment: String,
        /// Why.
        why: String,
    },
    /// Create the Job of a step.
    CreateJob {
        /// The step.
        step: StepName,
        /// What the Job does.
        work: Box<Work>,
    },
    /// End a Job that is not wanted any more.
    DeleteJob {
        /// Name of the Job.
        name: String,
        /// UID of the Job: another one of that name stays.
        uid: String,
    },
    /// Write down in the Pipeline that this execution ended.
    Remember {
        /// Name of the Pipeline.
        pipeline: String,
        /// What to remember.
        entry: Box<LedgerEntry>,
        /// Its tests, for the debt of the pipeline.
        tests: TestedSteps,
    },
}

impl Action {
    /// The kind of effect, for metrics and logs.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::KeepRevision { .. } => "keep_revision",
            Self::Lock { .. } => "lock",
            Self::Unlock { .. } => "unlock",
            Self::SetTarget { .. } => "set_target",
            Self::Resume { .. } => "resume",
            Self::Stop { .. } => "stop",
            Self::CreateJob { .. } => "create_job",
            Self::DeleteJob { .. } => "delete_job",
            Self::Remember { .. } => "remember",
        }
    }
}

/// Registries of a Job that works on packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    /// Where images and reports go.
    pub target: Option<String>,
    /// Registries that are spoken to by plain HTTP.
    pub plain_http: Vec<String>,
    /// Secret to read the artifact with.
    pub source_secret: Option<LocalName>,
    /// Secret to write with.
    pub target_secret: Option<LocalName>,
}

/// The sources that a Job reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Sources {
    /// How they are read, and what is made of them.
    pub git: GitSource,
    /// Where they are.
    pub remote: RemoteRef,
    /// The image to build in.
    pub builder: ImageRef,
    /// Name of the pipeline.
    pub pipeline: String,
    /// UID of the pipeline.
    pub pipeline_uid: String,
    /// What was last asked of the cache: when it is something else than what the cache was made with, it is emptied.
    pub cache_epoch: String,
}

/// The dispatchers of the place where a release is tested, for tests that ask them for pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Their address inside of the cluster.
    pub url: String,
    /// The name that visitors ask for, where the Environment has one: which virtual host answers depends on it.
    pub host: Option<String>,
}

/// What a Job does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Ask a Git server which commit a ref is.
    Resolve(Box<Sources>),
    /// Make packages out of sources.
    Build {
        /// The sources.
        sources: Box<Sources>,
        /// The commit.
        commit: Commit,
        /// What decides what the build makes.
        key: Sha256Digest,
        /// The version that the project gets, if not the committed one.
        version: Option<ArtifactsVersion>,
        /// Where the packages go.
        packages: PackageRepository,
        /// How long it may take.
        timeout: Span,
    },
    /// Check packages.
    CodeQuality {
        /// The artifact.
        artifact: ImageRef,
        /// Dependencies that the base satisfies.
        provided: Vec<String>,
        /// Whether packages of which no image can be made fail the step: else the build says so.
        refuse: bool,
        /// Where it is, and where the report goes.
        registries: Registries,
        /// How long it may take.
        timeout: Span,
        /// Who else looks at the packages.
        scanners: Vec<Scanner>,
    },
    /// Make images out of an artifact.
    BuildImage {
        /// The artifact.
        artifact: ImageRef,
        /// Base of the AEM image; with `web_tier` that image itself.
        aem: ImageRef,
        /// Base of the dispatcher image.
        dispatcher: ImageRef,
        /// Whether the dispatcher image alone is built.
        web_tier: bool,
        /// Dependencies that the base satisfies.
        provided: Vec<String>,
        /// How layers are stored.
        layer_encoding: LayerEncoding,
        /// Secret with the key that signs the provenance.
        signing: Option<LocalName>,
        /// Where the artifact is, and where the images go.
        registries: Registries,
        /// How long it may take.
        timeout: Span,
    },
    /// Request pages.
    SmokeTest {
        /// The dispatchers.
        site: Site,
        /// Pages.
        checks: Vec<SmokeCheck>,
    },
    /// Send requests that must be refused.
    SecurityTest {
        /// The dispatchers.
        site: Site,
        /// What is asked for.
        test: SecurityTest,
        /// Where the report goes.
        registries: Registries,
    },
    /// Request pages as many visitors would.
    LoadTest {
        /// The dispatchers.
        site: Site,
        /// What is asked for.
        test: PerformanceTest,
        /// Where the report goes.
        registries: Registries,
    },
    /// Run a test that is somebody's image.
    ImageTest {
        /// The test.
        test: TestImage,
        /// Address of the dispatcher.
        url: String,
        /// Address of the author.
        author: String,
        /// The release under test.
        release: ImageRef,
        /// Secret with `username` and `password` of a user for tests.
        login: Option<LocalName>,
        /// Where the report goes.
        registries: Registries,
    },
}

impl Work {
    /// The Secret with the user of a test: without it, its container does not start.
    #[must_use]
    pub const fn login(&self) -> Option<&LocalName> {
        match self {
            Self::LoadTest { test, .. } => test.login_secret_ref.as_ref(),
            Self::ImageTest { login, .. } => login.as_ref(),
            Self::Resolve(_)
            | Self::Build { .. }
            | Self::CodeQuality { .. }
            | Self::BuildImage { .. }
            | Self::SmokeTest { .. }
            | Self::SecurityTest { .. } => None,
        }
    }
}
