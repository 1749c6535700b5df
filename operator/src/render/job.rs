//! Jobs of an execution's steps.

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{Container, EnvVar, LocalObjectReference, PodSpec, PodTemplateSpec, ResourceRequirements},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use launchway_crds::{
    PipelineExecution,
    common::{LocalName, Span},
    digest::ImageRef,
    names::child_name,
    pipeline::SIGNING_KEY,
    step::StepName,
};
use serde_json::{Value, json};

use crate::{
    gate::TestKind,
    plan::execution::action::{Registries, Site, Work},
};

use super::{
    build_job, meta, pod, scan_job,
    test_job::{self, ImageTest, Keep, Parts, destination, own_test},
};

/// What Jobs need to know of the installation.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The operator's own image: build and smoke test are subcommands of it.
    pub image: String,
    /// Memory limit of a build, as a quantity.
    pub build_memory: String,
    /// The image that sources are fetched in, and built in where a pipeline names none.
    pub builder: Option<ImageRef>,
}

/// User of the operator's image.
const USER: i64 = 65532;
/// How long a test of pages may take.
const SMOKE_SECONDS: u64 = 300;
/// What a load test may take besides the time in which it loads.
const LOAD_MARGIN_SECONDS: u64 = 300;
/// How long it may take to ask a Git server for a ref, and to pull the image that asks.
const RESOLVE_SECONDS: u64 = 300;
const SPOOL: &str = "/spool";
/// The annotation by which kubectl knows whose log is meant.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// What of a Job's pod differs from step to step.
struct Shape {
    parts: Parts,
    timeout: Span,
    /// Whether the work is done by an image that the project chose.
    foreign: bool,
    /// Secrets that images are pulled with.
    pull: Vec<LocalName>,
}

impl Shape {
    fn worker(installation: &Installation, command: &str, memory: &str, env: Vec<EnvVar>, timeout: Span) -> Self {
        let container = Container {
            name: command.into(),
            image: Some(installation.image.clone()),
            args: Some(vec!["worker".into(), command.into()]),
            env: Some(env),
            resources: limits(memory),
            security_context: Some(pod::restricted()),
            termination_message_policy: Some("FallbackToLogsOnError".into()),
            ..Container::default()
        };
        Self::test(Parts { containers: vec![container], ..Parts::default() }, timeout, false)
    }

    const fn test(parts: Parts, timeout: Span, foreign: bool) -> Self {
        Self { parts, timeout, foreign, pull: vec![] }
    }

    /// With a spool folder and the credentials of registries.
    fn with_registries(mut self, registries: &Registries) -> Self {
        let (spool, mut mounts) = pod::writable("spool", &[SPOOL.to_string()], Some("16Gi"));
        self.parts.volumes.push(spool);
        for (part, secret) in [("source", &registries.source_secret), ("target", &registries.target_secret)] {
            if let Some(LocalName { name }) = secret {
                let (volume, mount) = pod::credentials(part, name);
                self.parts.volumes.push(volume);
                mounts.push(mount);
            }
        }
        for container in &mut self.parts.containers {
            container.volume_mounts = Some(mounts.clone());
        }
        self
    }

    /// With the key that signs.
    fn with_signing(mut self, secret: &str) -> Self {
        let (volume, mount) = pod::signing(secret);
        self.parts.volumes.push(volume);
        for container in &mut self.parts.containers {
            container.volume_mounts.get_or_insert_default().push(mount.clone());
        }
        self
    }
}

/// The Job of a step.
///
/// It is never tried again by Kubernetes: a test that ran must not run twice, and a build that
/// failed says why in its outcome.
#[must_use]
pub fn job(execution: &PipelineExecution, step: StepName, work: &Work, installation: &Installation) -> Job {
    let name = child_name(execution.metadata.name.as_deref().unwrap_or_default(), step.dashed());
    let shape = shape(execution, step, work, installation);
    let seconds = i64::try_from(shape.timeout.as_secs()).unwrap_or(i64::MAX);
    let mut security = pod::non_root(USER, Some(USER));
    if shape.foreign {
        // The project's own image states its user; it has to be a number other than 0. Reports are read by our group.
        security.run_as_user = None;
        security.run_as_group = None;
    }
    Job {
        metadata: meta::of_execution(execution, name, step.dashed()),
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            active_deadline_seconds: Some(seconds),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(meta::of_step(execution, step.dashed())),
                    annotations: shape
                        .parts
                        .default_container
                        .map(|name| [(DEFAULT_CONTAINER.to_string(), name.to_string())].into()),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    restart_policy: Some("Never".into()),
                    automount_service_account_token: Some(false),
                    enable_service_links: Some(false),
                    security_context: Some(security),
                    termination_grace_period_seconds: shape.parts.grace_seconds,
                    init_containers: Some(shape.parts.init_containers).filter(|all| !all.is_empty()),
                    containers: shape.parts.containers,
                    image_pull_secrets: Some(
                        shape.pull.into_iter().map(|LocalName { name }| LocalObjectReference { name }).collect(),
                    )
                    .filter(|all: &Vec<_>| !all.is_empty()),
                    volumes: Some(shape.parts.volumes),
                    ..PodSpec::default()
                }),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn shape(execution: &PipelineExecution, step: StepName, work: &Work, installation: &Installation) -> Shape {
    let meta = &execution.metadata;
    let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    match work {
        Work::Resolve(sources) => Shape {
            pull: sources.git.builder.image_pull_secrets.clone(),
            ..Shape::test(build_job::resolve(sources, installation), Span::from_secs(RESOLVE_SECONDS), false)
        },
        Work::Build { sources, commit, key, version, packages, timeout } => {
            let build = build_job::Build { sources, commit, key: *key, packages, version: version.as_ref() };
            Shape {
                pull: sources.git.builder.image_pull_secrets.clone(),
                ..Shape::test(build_job::build(execution, &build, installation), *timeout, false)
            }
        }
        Work::CodeQuality { artifact, provided, refuse, registries, timeout, scanners } => {
            // A pipeline that builds neither images nor packages has no place for reports.
            let keep = registries.target.is_some().then(|| keep(registries));
            let request = json!({
                "artifact": artifact,
                "provided": provided,
                "plainHttp": registries.plain_http,
                "refuse": refuse,
                "outlets": scan_job::outlets(scanners, keep.as_ref()),
            });
            let env = vec![pod::env("LAUNCHWAY_CODE_QUALITY", request.to_string()), pod::env("LAUNCHWAY_SPOOL", SPOOL)];
            let checks = Shape::worker(installation, scan_job::CHECKS, &installation.build_memory, env, *timeout)
                .with_registries(registries);
            if scanners.is_empty() {
                return checks;
            }
            let seconds = timeout.as_secs() + scan_job::longest(scanners).as_secs();
            let parts = scan_job::with_scanners(checks.parts, scanners, artifact, keep.as_ref(), &installation.image);
            Shape::test(parts, Span::from_secs(seconds), true)
        }
        Work::BuildImage {
            artifact,
            aem,
            dispatcher,
            web_tier,
            provided,
            layer_encoding,
            signing,
            registries,
            timeout,
        } => {
            let mut request = json!({
                "artifact": artifact,
                "target": registries.target,
                "base": { "aem": aem, "dispatcher": dispatcher },
                "webTier": web_tier,
                "provided": provided,
                "layerEncoding": layer_encoding,
                "execution": format!("{namespace}/{name}"),
                "plainHttp": registries.plain_http,
            });
            if signing.is_some() {
                request["signKey"] = json!(format!("{}/{SIGNING_KEY}", pod::SIGNING));
            }
            let env = vec![pod::env("LAUNCHWAY_BUILD", request.to_string()), pod::env("LAUNCHWAY_SPOOL", SPOOL)];
            let build = Shape::worker(installation, "build-image", &installation.build_memory, env, *timeout)
                .with_registries(registries);
            match signing {
                Some(LocalName { name }) => build.with_signing(name),
                None => build,
            }
        }
        Work::SmokeTest { site, checks } => {
            let request = asked_of(site, json!({ "checks": checks, "timeoutSeconds": SMOKE_SECONDS / 5 }));
            let env = vec![pod::env("LAUNCHWAY_SMOKE", request.to_string())];
            Shape::worker(installation, "smoke-test", "64Mi", env, Span::from_secs(SMOKE_SECONDS))
        }
        Work::SecurityTest { site, test, registries } => {
            let keep = keep(registries);
            let request = asked_of(site, json!({ "skip": test.skip, "report": destination(&keep) }));
            let request = ("LAUNCHWAY_SECURITY", request.to_string());
            let parts = own_test(&installation.image, "security-test", request, None, &keep);
            Shape::test(parts, Span::from_secs(SMOKE_SECONDS), false)
        }
        Work::LoadTest { site, test, registries } => {
            let keep = keep(registries);
            let request = json!({
                "sets": test.pages,
                "durationSeconds": test.duration.as_secs(),
                "concurrency": test.visitors,
                "pagesPerMinute": test.pages_per_minute,
                "thresholds": test.thresholds,
                "report": destination(&keep),
            });
            let request = ("LAUNCHWAY_PERFORMANCE", asked_of(site, request).to_string());
            let login = test.login_secret_ref.as_ref().map(|secret| secret.name.as_str());
            let parts = own_test(&installation.image, "performance-test", request, login, &keep);
            Shape::test(parts, Span::from_secs(test.duration.as_secs() + LOAD_MARGIN_SECONDS), false)
        }
        Work::ImageTest { test, url, author, release, login, registries } => {
            let image_test = ImageTest {
                kind: TestKind::of(step).unwrap_or(TestKind::Functional),
                image: &test.image,
                variables: &test.variables,
                publish: url,
                author,
                release,
                login: login.as_ref().map(|secret| secret.name.as_str()),
            };
            Shape::test(test_job::image_test(&image_test, &keep(registries), &installation.image), test.timeout, true)
        }
    }
}

/// The request of a worker, with the site that it asks. Without a name of its own it is asked for by its address.
fn asked_of(Site { url, host }: &Site, mut request: Value) -> Value {
    request["url"] = json!(url);
    if let Some(host) = host {
        request["host"] = json!(host);
    }
    request
}

fn limits(memory: &str) -> Option<ResourceRequirements> {
    let map = |cpu: Option<&str>, memory: &str| {
        let cpu = cpu.map(|cpu| ("cpu".to_string(), Quantity(cpu.into())));
        Some(cpu.into_iter().chain([("memory".to_string(), Quantity(memory.into()))]).collect())
    };
    Some(ResourceRequirements { requests: map(Some("50m"), "32Mi"), limits: map(None, memory), claims: None })
}

/// Where the report of a test is kept: beside the images.
fn keep(registries: &Registries) -> Keep<'_> {
    let repository = registries.target.as_deref().unwrap_or_default();
    let host = repository.split('/').next().unwrap_or_default();
    Keep {
        repository,
        plain_http: registries.plain_http.iter().any(|plain| plain == host),
        secret: registries.target_secret.as_ref().map(|secret| secret.name.as_str()),
    }
}
