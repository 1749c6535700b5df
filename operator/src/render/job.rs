//! Jobs of an execution's steps.

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Container, KeyToPath, PodSpec, PodTemplateSpec, ProjectedVolumeSource, ResourceRequirements,
            SecretProjection, Volume, VolumeMount, VolumeProjection,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use launchway_crds::{
    PipelineExecution,
    common::{LocalName, Span},
    names::child_name,
    step::StepName,
};
use serde_json::json;

use crate::plan::execution::action::Work;

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
/// How long a smoke test may take.
const SMOKE_SECONDS: u64 = 300;
const SPOOL: &str = "/spool";
const CREDENTIALS: &str = "/var/run/launchway/credentials";

/// The Job of a step.
///
/// It is never tried again by Kubernetes: a test that ran must not run twice, and a build that
/// failed says why in its outcome.
#[must_use]
pub fn job(execution: &PipelineExecution, step: StepName, work: &Work, installation: &Installation) -> Job {
    let name = child_name(execution.metadata.name.as_deref().unwrap_or_default(), step.dashed());
    let (container, volumes, timeout) = match work {
        Work::BuildImage { .. } => build_image(execution, work, installation),
        Work::SmokeTest { .. } => smoke_test(work, installation),
        Work::FunctionalTest { .. } => functional_test(work),
    };
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    let user = match work {
        Work::BuildImage { .. } | Work::SmokeTest { .. } => Some(USER),
        Work::FunctionalTest { .. } => None,
    };
    let mut security = pod::non_root(user.unwrap_or(USER), user);
    if user.is_none() {
        // The project's own image states its user; it has to be a number other than 0.
        security.run_as_user = None;
        security.fs_group = None;
    }
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
                    containers: vec![Container {
                        name: step.dashed().into(),
                        security_context: Some(pod::restricted()),
                        termination_message_policy: Some("FallbackToLogsOnError".into()),
                        ..container
                    }],
                    volumes: Some(volumes),
                    ..PodSpec::default()
                }),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn limits(memory: &str) -> Option<ResourceRequirements> {
    let map = |cpu: Option<&str>, memory: &str| {
        let cpu = cpu.map(|cpu| ("cpu".to_string(), Quantity(cpu.into())));
        Some(cpu.into_iter().chain([("memory".to_string(), Quantity(memory.into()))]).collect())
    };
    Some(ResourceRequirements { requests: map(Some("50m"), "32Mi"), limits: map(None, memory), claims: None })
}

fn build_image(
    execution: &PipelineExecution,
    work: &Work,
    installation: &Installation,
) -> (Container, Vec<Volume>, Span) {
    let Work::BuildImage {
        artifact,
        target,
        aem,
        dispatcher,
        provided,
        plain_http,
        source_secret,
        target_secret,
        timeout,
    } = work
    else {
        return (Container::default(), vec![], Span::from_secs(0));
    };
    let meta = &execution.metadata;
    let request = json!({
        "artifact": artifact,
        "target": target,
        "base": { "aem": aem, "dispatcher": dispatcher },
        "provided": provided,
        "execution": format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default()),
        "plainHttp": plain_http,
    });
    let (spool, mut mounts) = pod::writable("spool", &[SPOOL.to_string()], Some("16Gi"));
    let mut volumes = vec![spool];
    for (part, secret) in [("source", source_secret), ("target", target_secret)] {
        if let Some(LocalName { name }) = secret {
            volumes.push(credentials(part, name));
            mounts.push(VolumeMount {
                name: part.into(),
                mount_path: format!("{CREDENTIALS}/{part}"),
                read_only: Some(true),
                ..VolumeMount::default()
            });
        }
    }
    let container = Container {
        image: Some(installation.image.clone()),
        args: Some(vec!["worker".into(), "build-image".into()]),
        env: Some(vec![pod::env("LAUNCHWAY_BUILD", request.to_string()), pod::env("LAUNCHWAY_SPOOL", SPOOL)]),
        resources: limits(&installation.build_memory),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    (container, volumes, *timeout)
}

fn credentials(part: &str, secret: &str) -> Volume {
    // The certificate of a private authority is optional, the credentials are not.
    let source = |key: &str, optional: bool| VolumeProjection {
        secret: Some(SecretProjection {
            name: secret.into(),
            items: Some(vec![KeyToPath { key: key.into(), path: key.into(), mode: None }]),
            optional: optional.then_some(true),
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name: part.into(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![source(".dockerconfigjson", false), source("ca.crt", true)]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn smoke_test(work: &Work, installation: &Installation) -> (Container, Vec<Volume>, Span) {
    let Work::SmokeTest { url, checks } = work else { return (Container::default(), vec![], Span::from_secs(0)) };
    let request = json!({ "url": url, "checks": checks, "timeoutSeconds": SMOKE_SECONDS / 5 });
    let container = Container {
        image: Some(installation.image.clone()),
        args: Some(vec!["worker".into(), "smoke-test".into()]),
        env: Some(vec![pod::env("LAUNCHWAY_SMOKE", request.to_string())]),
        resources: limits("64Mi"),
        ..Container::default()
    };
    (container, vec![], Span::from_secs(SMOKE_SECONDS))
}

fn functional_test(work: &Work) -> (Container, Vec<Volume>, Span) {
    let Work::FunctionalTest { test, url, author, release } = work else {
        return (Container::default(), vec![], Span::from_secs(0));
    };
    let (scratch, mounts) = pod::writable("tmp", &["/tmp".to_string()], Some("1Gi"));
    let own = [
        pod::env("LAUNCHWAY_TEST_URL", url.clone()),
        pod::env("LAUNCHWAY_AUTHOR_URL", author.clone()),
        pod::env("LAUNCHWAY_RELEASE", release.to_string()),
    ];
    let further = test.variables.iter().map(|(name, value)| pod::env(name, value.clone()));
    let container = Container {
        image: Some(test.image.to_string()),
        // The last of two entries of one name wins.
        env: Some(further.chain(own).collect()),
        resources: limits("1Gi"),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    (container, vec![scratch], test.timeout)
}
