//! Jobs of an execution's steps.

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Container, EnvVar, KeyToPath, PodSpec, PodTemplateSpec, ResourceRequirements, SecretVolumeSource, Volume,
            VolumeMount,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use launchway_crds::{
    PipelineExecution,
    common::{LocalName, Span},
    names::child_name,
    pipeline::TestImage,
    step::StepName,
};
use serde_json::json;

use crate::plan::execution::action::{Registries, Work};

use super::{meta, pod};

/// What Jobs need to know of the installation.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The operator's own image: build and smoke test are subcommands of it.
    pub image: String,
    /// Memory limit of a build, as a quantity.
    pub build_memory: String,
}

/// User of the operator's image.
const USER: i64 = 65532;
/// How long a test of pages may take.
const SMOKE_SECONDS: u64 = 300;
/// What a load test may take besides the time in which it loads.
const LOAD_MARGIN_SECONDS: u64 = 300;
const SPOOL: &str = "/spool";
const CREDENTIALS: &str = "/var/run/launchway/credentials";
/// Where a test's container leaves its reports (`docs/tests.md`).
const REPORTS: &str = "/reports";
/// The container that reads them.
pub const COLLECTOR: &str = "collect";

/// What of a Job's pod differs from step to step.
struct Shape {
    /// The container that does the work.
    container: Container,
    /// Runs beside it, and ends after it.
    beside: Option<Container>,
    volumes: Vec<Volume>,
    timeout: Span,
    /// Whether the work is done by an image that the project chose.
    foreign: bool,
}

impl Shape {
    fn worker(installation: &Installation, command: &str, memory: &str, env: Vec<EnvVar>, timeout: Span) -> Self {
        let container = Container {
            image: Some(installation.image.clone()),
            args: Some(vec!["worker".into(), command.into()]),
            env: Some(env),
            resources: limits(memory),
            ..Container::default()
        };
        Self { container, beside: None, volumes: vec![], timeout, foreign: false }
    }

    /// With a spool folder and the credentials of registries.
    fn with_registries(mut self, registries: &Registries) -> Self {
        let (spool, mut mounts) = pod::writable("spool", &[SPOOL.to_string()], Some("16Gi"));
        self.volumes.push(spool);
        for (part, secret) in [("source", &registries.source_secret), ("target", &registries.target_secret)] {
            if let Some(LocalName { name }) = secret {
                self.volumes.push(credentials(part, name));
                mounts.push(VolumeMount {
                    name: part.into(),
                    mount_path: format!("{CREDENTIALS}/{part}"),
                    read_only: Some(true),
                    ..VolumeMount::default()
                });
            }
        }
        self.container.volume_mounts = Some(mounts);
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
    let ours = |container: Container| Container {
        security_context: Some(pod::restricted()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..container
    };
    Job {
        metadata: meta::of_execution(execution, name, step.dashed()),
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            active_deadline_seconds: Some(seconds),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(meta::of_step(execution, step.dashed())),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    restart_policy: Some("Never".into()),
                    automount_service_account_token: Some(false),
                    enable_service_links: Some(false),
                    security_context: Some(security),
                    init_containers: shape.beside.map(|beside| vec![ours(beside)]),
                    containers: vec![ours(Container { name: step.dashed().into(), ..shape.container })],
                    volumes: Some(shape.volumes),
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
        Work::CodeQuality { artifact, provided, registries, timeout } => {
            let request = json!({
                "artifact": artifact,
                "target": registries.target,
                "provided": provided,
                "plainHttp": registries.plain_http,
            });
            let env = vec![pod::env("LAUNCHWAY_CODE_QUALITY", request.to_string()), pod::env("LAUNCHWAY_SPOOL", SPOOL)];
            Shape::worker(installation, "code-quality", &installation.build_memory, env, *timeout)
                .with_registries(registries)
        }
        Work::BuildImage { artifact, aem, dispatcher, provided, registries, timeout } => {
            let request = json!({
                "artifact": artifact,
                "target": registries.target,
                "base": { "aem": aem, "dispatcher": dispatcher },
                "provided": provided,
                "execution": format!("{namespace}/{name}"),
                "plainHttp": registries.plain_http,
            });
            let env = vec![pod::env("LAUNCHWAY_BUILD", request.to_string()), pod::env("LAUNCHWAY_SPOOL", SPOOL)];
            Shape::worker(installation, "build-image", &installation.build_memory, env, *timeout)
                .with_registries(registries)
        }
        Work::SmokeTest { url, checks } => {
            let request = json!({ "url": url, "checks": checks, "timeoutSeconds": SMOKE_SECONDS / 5 });
            let env = vec![pod::env("LAUNCHWAY_SMOKE", request.to_string())];
            Shape::worker(installation, "smoke-test", "64Mi", env, Span::from_secs(SMOKE_SECONDS))
        }
        Work::SecurityTest { url, test } => {
            let request = json!({ "url": url, "skip": test.skip });
            let env = vec![pod::env("LAUNCHWAY_SECURITY", request.to_string())];
            Shape::worker(installation, "security-test", "64Mi", env, Span::from_secs(SMOKE_SECONDS))
        }
        Work::LoadTest { url, test } => {
            let request = json!({
                "url": url,
                "sets": test.pages,
                "durationSeconds": test.duration.as_secs(),
                "concurrency": test.visitors,
                "pagesPerMinute": test.pages_per_minute,
                "thresholds": test.thresholds,
            });
            let env = vec![pod::env("LAUNCHWAY_PERFORMANCE", request.to_string())];
            let timeout = Span::from_secs(test.duration.as_secs() + LOAD_MARGIN_SECONDS);
            Shape::worker(installation, "performance-test", "128Mi", env, timeout)
        }
        Work::ImageTest { test, url, author, release } => {
            let own = [
                pod::env("LAUNCHWAY_TEST_URL", url.clone()),
                pod::env("LAUNCHWAY_AUTHOR_URL", author.clone()),
                pod::env("LAUNCHWAY_RELEASE", release.to_string()),
                pod::env("REPORTS_PATH", REPORTS),
            ];
            image_test(installation, step, test, own)
        }
    }
}

fn limits(memory: &str) -> Option<ResourceRequirements> {
    let map = |cpu: Option<&str>, memory: &str| {
        let cpu = cpu.map(|cpu| ("cpu".to_string(), Quantity(cpu.into())));
        Some(cpu.into_iter().chain([("memory".to_string(), Quantity(memory.into()))]).collect())
    };
    Some(ResourceRequirements { requests: map(Some("50m"), "32Mi"), limits: map(None, memory), claims: None })
}

fn credentials(part: &str, secret: &str) -> Volume {
    let key = ".dockerconfigjson";
    Volume {
        name: part.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.into()),
            items: Some(vec![KeyToPath { key: key.into(), path: key.into(), mode: None }]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The kind of a test, as the collector knows it.
const fn kind(step: StepName) -> &'static str {
    match step {
        StepName::ProductTest => "product",
        StepName::UiTest => "ui",
        StepName::ContentAudit => "audit",
        _ => "functional",
    }
}

/// Somebody's test image, and beside it what reads the reports that it leaves.
fn image_test(installation: &Installation, step: StepName, test: &TestImage, own: [EnvVar; 4]) -> Shape {
    let (scratch, mut mounts) = pod::writable("tmp", &["/tmp".to_string()], Some("1Gi"));
    let (reports, folder) = pod::writable("reports", &[REPORTS.to_string()], Some("1Gi"));
    mounts.extend(folder.clone());
    let further = test.variables.iter().map(|(name, value)| pod::env(name, value.clone()));
    let container = Container {
        image: Some(test.image.to_string()),
        // The last of two entries of one name wins.
        env: Some(further.chain(own).collect()),
        resources: limits("1Gi"),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    let request = json!({ "kind": kind(step), "folder": REPORTS });
    let collector = Container {
        name: COLLECTOR.into(),
        image: Some(installation.image.clone()),
        args: Some(vec!["worker".into(), "collect".into()]),
        env: Some(vec![pod::env("LAUNCHWAY_COLLECT", request.to_string())]),
        resources: limits("256Mi"),
        // A sidecar: the kubelet stops it when the test has ended.
        restart_policy: Some("Always".into()),
        volume_mounts: Some(folder),
        ..Container::default()
    };
    Shape { container, beside: Some(collector), volumes: vec![scratch, reports], timeout: test.timeout, foreign: true }
}
