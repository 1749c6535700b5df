//! The Build Images Job: an artifact and two bases in, a release out.
//!
//! The images are a function of the zips and the bases alone. Nothing of the execution, the time or this machine is in
//! them, so building the same again, anywhere, gives the same digests and finds everything in the registry already.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use launchway_crds::digest::{ImageRef, Sha256Digest};
use serde::{Deserialize, Serialize};

use super::images::{BuildError, LoadedBase, describe, human, load_base, push_bare, push_image, verify};
use super::report::{MEDIA_TYPE, Report};
use super::verdict::{Reason, Verdict};
use crate::artifact::{self, ReadError};
use crate::image::Limits;
use crate::image::blob::{Hasher, Spool};
use crate::image::classify::Flavour;
use crate::image::contract::ImageTier;
use crate::image::dispatcher::BaseFiles;
use crate::image::failure::{Reason as Code, Refusal};
use crate::image::manifest::{self, Descriptor, EMPTY_JSON, REPORT, TITLE};
use crate::image::order::DEFAULT_PROVIDED;
use crate::image::plan::{BuildPlan, FileKind, Input, PlanOptions, Planned, plan};
use crate::registry::{Authorities, Client, ClientOptions, Credentials, Progress, Repository};

/// Environment variable with the request.
pub const REQUEST: &str = "LAUNCHWAY_BUILD";
/// Environment variable with the spool folder.
pub const SPOOL: &str = "LAUNCHWAY_SPOOL";
/// Environment variable with the path of the termination message.
pub const TERMINATION_LOG: &str = "LAUNCHWAY_TERMINATION_LOG";
/// Environment variable with the folder of the credentials; for tests.
pub const CREDENTIALS: &str = "LAUNCHWAY_CREDENTIALS";
const CREDENTIALS_FOLDER: &str = "/var/run/launchway/credentials";

/// The two base images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bases {
    /// Base of author and publish.
    pub aem: ImageRef,
    /// Base of the web server.
    pub dispatcher: ImageRef,
}

/// What to build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildRequest {
    /// The artifact: `REGISTRY/REPOSITORY@sha256:…`.
    pub artifact: ImageRef,
    /// Where images go: `REGISTRY/REPOSITORY`.
    pub target: String,
    /// Base images.
    pub base: Bases,
    /// `namespace/name` of the execution, for log lines alone.
    #[serde(default)]
    pub execution: String,
    /// Registries (`HOST[:PORT]`) that are spoken to in plain HTTP.
    #[serde(default)]
    pub plain_http: Vec<String>,
    /// Prefixes of `group:name` that the runtime brings along, besides the default ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provided: Vec<String>,
    /// `os/architecture` to choose from bases that are an index. Default `linux/amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// Prints the file transfers of a build.
struct Lines;

impl Progress for Lines {
    fn start(&self, name: &str, total: u64) {
        println!("file {name}: downloading {}", human(total));
    }

    fn finish(&self, name: &str, how: &str) {
        println!("file {name}: {how}");
    }
}

/// Digests of a finished build, all in the target repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Built {
    /// The index over both images: what is tested, approved and deployed.
    pub release: Sha256Digest,
    /// Author and publish.
    pub aem: Sha256Digest,
    /// The web server.
    pub dispatcher: Sha256Digest,
    /// The artifact with the report.
    pub report: Sha256Digest,
}

/// What a build found out before it ended, whichever way it ended.
#[derive(Debug, Default)]
pub struct Trail {
    /// The report's digest, when it was pushed.
    pub report: Option<Sha256Digest>,
}

/// Builds and pushes a release.
///
/// # Errors
/// Why there is none.
pub async fn build(
    client: &Client,
    request: &BuildRequest,
    spool: &Path,
    trail: &mut Trail,
) -> Result<Built, BuildError> {
    let target = Repository::parse(&request.target)?;
    let source = Repository::of(&request.artifact);
    let platform = request.platform.as_deref().unwrap_or("linux/amd64");
    let platform = platform
        .split_once('/')
        .ok_or_else(|| BuildError::Platform(format!("platform `{platform}` is not os/architecture")))?;

    let files = artifact::list(client, &request.artifact).await.map_err(|error| match error {
        ReadError::Refused(refusal) => BuildError::Refused(refusal),
        ReadError::Registry(error) => BuildError::Registry(error),
    })?;
    let total: u64 = files.iter().map(|file| file.size).sum();
    println!("artifact {}: {} files, {}", request.artifact, files.len(), human(total));
    let aem = load_base(client, &request.base.aem, ImageTier::Aem, platform).await?;
    let dispatcher = load_base(client, &request.base.dispatcher, ImageTier::Dispatcher, platform).await?;
    println!("bases: aem {}, dispatcher {}", aem.base.digest, dispatcher.base.digest);

    let mut inputs = Vec::with_capacity(files.len());
    for file in &files {
        let blob = artifact::download(client, &source, file, spool, &Lines).await?;
        inputs.push(Input { name: file.name.clone(), blob, sha256: file.digest });
    }
    let planned = plan_off_thread(inputs, &dispatcher, &request.provided, spool).await?;
    say_plan(&planned);
    let mut report = Report::new(request.artifact.digest(), &planned);
    let plan = match planned.plan {
        Ok(plan) => plan,
        Err(refusal) => {
            // The report helps people, but its loss must not hide the refusal.
            trail.report = push_report(client, &target, &report).await.ok();
            return Err(BuildError::Refused(refusal));
        }
    };

    let aem_image = build_aem(client, &plan, &aem, &target, spool).await?;
    let dispatcher_image = build_dispatcher(client, &plan, &dispatcher, &target, spool).await?;
    let release = manifest::release(&aem_image, &dispatcher_image);
    put(client, &target, &release, &format!("release-{}", release.digest.short())).await?;
    println!("release {}", target.at(release.digest));
    report.release = Some(release.digest);
    let report = push_report(client, &target, &report).await?;
    trail.report = Some(report);
    Ok(Built { release: release.digest, aem: aem_image.digest, dispatcher: dispatcher_image.digest, report })
}

async fn plan_off_thread(
    inputs: Vec<Input>,
    dispatcher: &LoadedBase,
    provided: &[String],
    spool: &Path,
) -> Result<Planned, BuildError> {
    let base = BaseFiles {
        config_path: dispatcher.contract.config_path.clone().unwrap_or_default(),
        immutable: dispatcher.contract.immutable_files.iter().cloned().collect(),
    };
    let mut options = PlanOptions { limits: Limits::default(), provided: DEFAULT_PROVIDED.map(str::to_owned).to_vec() };
    options.provided.extend(provided.iter().filter(|prefix| !prefix.is_empty()).cloned());
    let spool = Spool::new(spool);
    tokio::task::spawn_blocking(move || plan(inputs, &base, &options, &spool))
        .await
        .map_err(|error| BuildError::Platform(format!("planning failed: {error}")))?
        .map_err(BuildError::from)
}

fn say_plan(planned: &Planned) {
    for file in &planned.files {
        let kind = match file.kind {
            FileKind::ContentPackage => "content-package",
            FileKind::Dispatcher => "dispatcher-configuration",
            FileKind::Ignored => "ignored",
            FileKind::Rejected => "rejected",
        };
        let detail =
            file.message.as_deref().or(file.id.as_deref()).or(file.flavour.map(Flavour::as_str)).unwrap_or_default();
        println!("{} ({kind}) {} {detail}", file.name, human(file.size));
    }
    for finding in &planned.findings {
        println!("note: {}: {}", finding.file, finding.message);
    }
    if let Ok(plan) = &planned.plan {
        let order: Vec<String> = plan.packages.iter().map(|package| package.id.to_string()).collect();
        println!("install order: {}", if order.is_empty() { "no packages".to_owned() } else { order.join(", ") });
    }
}

fn image_refusal(base: &LoadedBase, rule: String) -> BuildError {
    let reason = if rule.contains("layers (") { Code::TooManyLayers } else { Code::BaseImage };
    BuildError::Refused(Box::new(Refusal::new(
        reason,
        &format!("base image {}", base.repository.at(base.base.digest)),
        rule,
        "Use another base image",
    )))
}

async fn build_aem(
    client: &Client,
    plan: &BuildPlan,
    base: &LoadedBase,
    target: &Repository,
    spool: &Path,
) -> Result<Descriptor, BuildError> {
    let path = |path: &Option<String>| path.clone().unwrap_or_default();
    let limit = Limits::default().layers;
    let room = limit.saturating_sub(base.base.manifest.layers.len());
    let layers = plan
        .aem_layers(&path(&base.contract.install_path), &path(&base.contract.index_path), room)
        .map_err(|rule| image_refusal(base, rule))?;
    let layers = describe(layers).await?;
    let added: Vec<_> = layers.iter().map(|(_, added)| added.clone()).collect();
    let image =
        manifest::build(&base.base, &added, &BTreeMap::new(), limit).map_err(|rule| image_refusal(base, rule))?;
    push_image(client, base, target, &image, &layers, spool).await
}

async fn build_dispatcher(
    client: &Client,
    plan: &BuildPlan,
    base: &LoadedBase,
    target: &Repository,
    spool: &Path,
) -> Result<Descriptor, BuildError> {
    let config_path = base.contract.config_path.clone().unwrap_or_default();
    let Some(layer) = plan.dispatcher_layer(&config_path).map_err(|rule| image_refusal(base, rule))? else {
        return push_bare(client, base, target, spool).await;
    };
    let layers = describe(vec![layer]).await?;
    let added: Vec<_> = layers.iter().map(|(_, added)| added.clone()).collect();
    let image = manifest::build(&base.base, &added, &BTreeMap::new(), Limits::default().layers)
        .map_err(|rule| image_refusal(base, rule))?;
    push_image(client, base, target, &image, &layers, spool).await
}

/// Writes by digest, reads back, and gives a tag that follows from the digest, so that clean-ups of untagged content
/// leave it alone.
async fn put(client: &Client, target: &Repository, document: &manifest::Encoded, tag: &str) -> Result<(), BuildError> {
    client.put_manifest(target, &document.digest.to_string(), document.media_type, &document.bytes).await?;
    verify(client, target, document).await?;
    client.put_manifest(target, tag, document.media_type, &document.bytes).await?;
    Ok(())
}

async fn push_report(client: &Client, target: &Repository, report: &Report) -> Result<Sha256Digest, BuildError> {
    let bytes = report.to_json();
    let digest = Hasher::of(&bytes);
    client.push_bytes(target, &digest, &bytes).await?;
    client.push_bytes(target, &Hasher::of(EMPTY_JSON), EMPTY_JSON).await?;
    let mut layer = Descriptor::new(MEDIA_TYPE, digest, bytes.len() as u64);
    layer.annotations.insert(TITLE.to_owned(), "report.json".to_owned());
    let document = manifest::artifact(REPORT, &[layer], &BTreeMap::new());
    put(client, target, &document, &format!("report-{}", document.digest.short())).await?;
    println!("report {}", target.at(document.digest));
    Ok(document.digest)
}

/// Runs a request to its end and says how it ended.
pub async fn run(request: &BuildRequest, spool: &Path, credentials: &Path) -> Verdict<Built> {
    let mut trail = Trail::default();
    let result = async {
        std::fs::create_dir_all(spool)?;
        let source = Credentials::from_file(&credentials.join("source/.dockerconfigjson"))?;
        let target = Credentials::from_file(&credentials.join("target/.dockerconfigjson"))?;
        let client = Client::new(ClientOptions {
            plain_http: request.plain_http.iter().cloned().collect(),
            credentials: source.and(target),
            authorities: Authorities::from_file(&credentials.join("source/ca.crt"))?
                .and(Authorities::from_file(&credentials.join("target/ca.crt"))?),
            ..ClientOptions::default()
        })?;
        build(&client, request, spool, &mut trail).await
    }
    .await;
    let problem = |reason: &str, message: &str| Reason { report: trail.report, ..Reason::new(reason, message) };
    match result {
        Ok(built) => Verdict::Ok(built),
        Err(BuildError::Refused(refusal)) => Verdict::Failed(problem(refusal.reason.as_str(), &refusal.message())),
        Err(BuildError::Registry(error)) => Verdict::Error(problem(error.code(), &error.message)),
        Err(BuildError::Platform(message)) => Verdict::Error(problem("Platform", &message)),
    }
}

/// The first process of a container gets no default handling of signals: without this a Job that is deleted would keep
/// its pod for the whole grace period.
async fn until_stopped(work: impl Future<Output = Verdict<Built>>) -> Verdict<Built> {
    let stopped = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        outcome = work => outcome,
        () = stopped => Verdict::Error(Reason::new("Stopped", "the build was asked to stop; nothing of a release exists until its index is pushed")),
    }
}

fn from_env(name: &str, default: &str) -> PathBuf {
    std::env::var_os(name).map_or_else(|| PathBuf::from(default), PathBuf::from)
}

/// The Job's main: reads the environment, builds, writes the termination message.
#[must_use]
pub async fn main() -> ExitCode {
    let outcome = match request_from_env() {
        Ok(request) => {
            println!(
                "build images for {}",
                if request.execution.is_empty() { "no execution" } else { &request.execution }
            );
            let spool = from_env(SPOOL, "/spool");
            let credentials = from_env(CREDENTIALS, CREDENTIALS_FOLDER);
            until_stopped(run(&request, &spool, &credentials)).await
        }
        Err(message) => Verdict::Error(Reason::new("InvalidRequest", &message)),
    };
    outcome.conclude()
}

fn request_from_env() -> Result<BuildRequest, String> {
    let text = std::env::var(REQUEST).map_err(|_| format!("the environment variable {REQUEST} is missing"))?;
    serde_json::from_str(&text).map_err(|error| format!("{REQUEST} cannot be read: {error}"))
}
