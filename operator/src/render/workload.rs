//! StatefulSets of an Environment: author, publish, dispatcher.

use k8s_openapi::{
    api::{
        apps::v1::{
            RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy,
            StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{
            Container, ContainerPort, EnvVar, EnvVarSource, Lifecycle, LifecycleHandler, LocalObjectReference,
            ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSecurityContext, PodSpec,
            PodTemplateSpec, Volume, VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use launchway_crds::{
    Environment,
    environment::{EnvironmentSpec, Resources, Storage, Tier},
    names::{annotations, labels},
};

use crate::{
    image::contract::RuntimeContract,
    plan::environment::{
        ServiceName, pair_service,
        world::{Content, Revisions},
    },
};

use super::{
    Release, configuration, meta, pod, probe,
    service::{HTTP_NAME, HTTP_PORT, METRICS_NAME},
    spread::spread,
};

/// Name of the container that serves.
pub const CONTAINER: &str = "main";
/// Name of the container that tests a dispatcher's configuration before it serves.
pub const CONFIG_TEST: &str = "config-test";
const DATA: &str = "data";
/// Seconds after the ready time-out, at which a rollout stops, until a dispatcher that starts outside of one serves although a
/// page of the warm-up does not answer well.
const WARM_UP_GRACE: u64 = 60;
/// Seconds that a JVM with a repository gets to end by itself.
const STOP_SECONDS: i64 = 60;

/// Name of the StatefulSet of a tier.
#[must_use]
pub fn name(environment: &str, tier: Tier) -> String {
    format!("{environment}-{}", tier.as_str())
}

/// The StatefulSet of a tier, rendered.
#[must_use]
pub fn stateful_set(release: &Release<'_>, tier: Tier, replicas: i32, partition: i32) -> StatefulSet {
    let revisions = release.revisions();
    let template = template(release, &revisions, tier);
    with_template(release.environment, release.content, &revisions, template, tier, replicas, partition)
}

/// The template of a tier's pods. Who deployed it is no part of it: the same release, deployed by somebody else, replaces no
/// pod.
fn template(release: &Release<'_>, revisions: &Revisions, tier: Tier) -> PodTemplateSpec {
    let environment = release.environment.metadata.name.as_deref().unwrap_or_default();
    let mut pod_labels = meta::selector(environment, tier);
    pod_labels.extend(meta::map([
        (labels::MANAGED_BY, launchway_crds::names::FIELD_MANAGER),
        (labels::REVISION, revisions.of(tier)),
        (labels::RELEASE, &release.content.short(tier)),
    ]));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: Some(meta::map([(annotations::RELEASE, &release.content.mark(tier))])),
            ..ObjectMeta::default()
        }),
        spec: Some(pod_spec(release, tier, environment, &revisions.aem)),
    }
}

/// The StatefulSet of a tier with a template that is there already.
#[must_use]
pub fn with_template(
    owner: &Environment,
    content: &Content,
    revisions: &Revisions,
    template: PodTemplateSpec,
    tier: Tier,
    replicas: i32,
    partition: i32,
) -> StatefulSet {
    let environment = owner.metadata.name.as_deref().unwrap_or_default();
    let mut metadata = meta::of_environment(
        owner,
        name(environment, tier),
        meta::map([(labels::TIER, tier.as_str()), (labels::REVISION, revisions.of(tier))]),
    );
    let mut told = meta::map([(annotations::RELEASE, &content.mark(tier))]);
    if let Some(origin) = content.origin(tier) {
        told.insert(annotations::EXECUTION.into(), format!("{} {}", origin.execution, origin.uid));
    }
    if let (Tier::Dispatcher, Some(cache)) = (tier, content.cache()) {
        told.insert(annotations::CACHE.into(), serde_json::json!(cache).to_string());
    }
    metadata.annotations = Some(told);
    let storage = match tier {
        Tier::Author => owner.spec.author.storage.as_ref(),
        Tier::Publish | Tier::Dispatcher => None,
    };
    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas),
            service_name: Some(ServiceName::Pods(tier).of(environment, &revisions.aem)),
            selector: meta::matching(meta::selector(environment, tier)),
            // A pod that never becomes ready must not stop others from being replaced: the planner,
            // not the StatefulSet, decides the order.
            pod_management_policy: Some("Parallel".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateStatefulSetStrategy {
                    partition: Some(partition),
                    ..RollingUpdateStatefulSetStrategy::default()
                }),
            }),
            // What ran before comes back from here.
            revision_history_limit: Some(10),
            template,
            persistent_volume_claim_retention_policy: storage.map(retention),
            volume_claim_templates: storage.map(|storage| vec![claim(storage)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn pod_spec(release: &Release<'_>, tier: Tier, environment: &str, aem: &str) -> PodSpec {
    let spec = &release.environment.spec;
    let (contract, image) = match tier {
        Tier::Author | Tier::Publish => (&release.contracts.aem, &release.content.images().aem),
        Tier::Dispatcher => (&release.contracts.dispatcher, &release.content.images().dispatcher),
    };
    let (volumes, mounts) = folders(contract, tier, spec);
    let env = variables(release, tier, environment, aem);
    let resources = match tier {
        Tier::Author => &spec.author.resources,
        Tier::Publish => &spec.publish.resources,
        Tier::Dispatcher => &spec.dispatcher.resources,
    };
    let base = Container {
        name: CONTAINER.into(),
        image: Some(image.to_string()),
        env: Some(env),
        env_from: release.configuration.get(&tier).map(|hash| configuration::env_from(environment, tier, hash)),
        security_context: Some(pod::restricted()),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    let tested = Container {
        name: CONFIG_TEST.into(),
        command: Some(contract.commands.config_test.clone()),
        resources: Some((&Resources::default()).into()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..base.clone()
    };
    let grace = match tier {
        Tier::Dispatcher => i64::from(spec.dispatcher.drain_seconds) + STOP_SECONDS / 2,
        Tier::Author | Tier::Publish => STOP_SECONDS,
    };
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            sysctls: listens(contract).any(|port| port < 1024).then(|| vec![pod::low_ports()]),
            ..pod::non_root(contract.user, contract.group)
        }),
        image_pull_secrets: spec.runtime.as_ref().filter(|runtime| !runtime.image_pull_secrets.is_empty()).map(
            |runtime| {
                runtime
                    .image_pull_secrets
                    .iter()
                    .map(|secret| LocalObjectReference { name: secret.name.clone() })
                    .collect()
            },
        ),
        init_containers: (!contract.commands.config_test.is_empty()).then(|| vec![tested]),
        containers: vec![Container {
            ports: Some(ports(contract)),
            resources: Some(resources.into()),
            lifecycle: (!contract.commands.drain.is_empty()).then(|| Lifecycle {
                pre_stop: Some(LifecycleHandler {
                    exec: Some(probe::exec(&contract.commands.drain)),
                    ..LifecycleHandler::default()
                }),
                ..Lifecycle::default()
            }),
            readiness_probe: Some(probe::readiness(&contract.probes.ready, tier)),
            startup_probe: contract.probes.live.as_ref().map(probe::startup),
            liveness_probe: contract.probes.live.as_ref().map(probe::liveness),
            termination_message_policy: Some("FallbackToLogsOnError".into()),
            ..base
        }],
        termination_grace_period_seconds: Some(grace),
        topology_spread_constraints: spread(environment, tier),
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// The port of visitors, and that of counters where there is one.
fn ports(contract: &RuntimeContract) -> Vec<ContainerPort> {
    let port = |name: &str, number: u16| ContainerPort {
        name: Some(name.into()),
        container_port: i32::from(number),
        ..ContainerPort::default()
    };
    let metrics = contract.metrics_port.map(|number| port(METRICS_NAME, number));
    std::iter::once(port(HTTP_NAME, contract.port)).chain(metrics).collect()
}

/// The ports that the container listens at, as far as the contract tells.
fn listens(contract: &RuntimeContract) -> impl Iterator<Item = u16> {
    std::iter::once(contract.port).chain(contract.metrics_port).chain(contract.probes.ports())
}

/// Writable folders: the repository, the cache, and what else the contract names.
fn folders(contract: &RuntimeContract, tier: Tier, spec: &EnvironmentSpec) -> (Vec<Volume>, Vec<VolumeMount>) {
    let (volume, mut mounts) = pod::writable("scratch", &contract.writable_paths, None);
    let mut volumes = if contract.writable_paths.is_empty() { vec![] } else { vec![volume] };
    if let Some(path) = &contract.cache_path {
        let (volume, mount) = pod::writable("cache", std::slice::from_ref(path), None);
        volumes.push(volume);
        mounts.extend(mount);
    }
    if let Some(path) = &contract.data_path {
        let (volume, mount) = pod::writable(DATA, std::slice::from_ref(path), None);
        let claimed = tier == Tier::Author && spec.author.storage.is_some();
        if !claimed {
            volumes.push(volume);
        }
        mounts.extend(mount);
    }
    (volumes, mounts)
}

/// What becomes of the volume when the Environment, and with it the StatefulSet, is deleted.
fn retention(storage: &Storage) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(if storage.retain { "Retain" } else { "Delete" }.into()),
        when_scaled: Some("Retain".into()),
    }
}

fn claim(storage: &Storage) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(DATA.into()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_string(), storage.size.clone())].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// Variables that the base image's contract promises. `aem` is the revision of author and publish.
fn variables(release: &Release<'_>, tier: Tier, environment: &str, aem: &str) -> Vec<EnvVar> {
    let spec = &release.environment.spec;
    let mode = spec.type_.run_mode();
    let field = |name: &str, path: &str| EnvVar {
        name: name.into(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.into(), api_version: None }),
            ..EnvVarSource::default()
        }),
    };
    let mut all = vec![
        pod::env("LAUNCHWAY_RELEASE", release.content.digest(tier)),
        pod::env("LAUNCHWAY_TIER", tier.as_str()),
        field("POD_NAME", "metadata.name"),
    ];
    match tier {
        Tier::Author | Tier::Publish => {
            all.push(pod::env("LAUNCHWAY_RUN_MODES", format!("{},{mode}", tier.as_str())));
        }
        Tier::Dispatcher => {
            all.push(field("LAUNCHWAY_ORDINAL", "metadata.labels['apps.kubernetes.io/pod-index']"));
            // The kubelet puts the ordinal in: the dispatcher's own publish, on its own revision.
            all.push(pod::env("AEM_HOST", pair_service(environment, "$(LAUNCHWAY_ORDINAL)", aem)));
            all.push(pod::env("AEM_PORT", HTTP_PORT.to_string()));
            all.push(pod::env("ENVIRONMENT_TYPE", mode));
            all.push(pod::env("LAUNCHWAY_DRAIN_SECONDS", spec.dispatcher.drain_seconds.to_string()));
            all.extend(before_serving(release));
        }
    }
    all
}

/// What a dispatcher does once before it is ready for the first time: paths that it drops from its cache, and paths that
/// it requests.
fn before_serving(release: &Release<'_>) -> Vec<EnvVar> {
    let spec = &release.environment.spec;
    let paths = |name: &str, paths: &[String]| (!paths.is_empty()).then(|| pod::env(name, paths.join(" ")));
    let cache = release.content.cache().map(|cache| &cache.paths);
    let limit = spec.rollout.ready_timeout.as_secs() + WARM_UP_GRACE;
    let limit = (!spec.dispatcher.warm_up.is_empty()).then(|| pod::env("LAUNCHWAY_WARM_UP_SECONDS", limit.to_string()));
    [
        cache.and_then(|cache| paths("LAUNCHWAY_INVALIDATE", &cache.invalidate_paths)),
        cache.and_then(|cache| paths("LAUNCHWAY_FLUSH", &cache.flush_paths)),
        paths("LAUNCHWAY_WARM_UP", &spec.dispatcher.warm_up),
        limit,
    ]
    .into_iter()
    .flatten()
    .collect()
}
