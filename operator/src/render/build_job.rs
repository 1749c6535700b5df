//! The pod that makes packages of sources: checkout, build, upload, one container after the other.
//!
//! Every container sees only what its part needs: the Git login is mounted for the checkout alone, the registry's for the
//! upload alone, and the commands of the project run with neither. What a build image finds around it is told to people
//! in `docs/builds.md`.

use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, KeyToPath, PersistentVolumeClaimVolumeSource, ResourceRequirements,
    SecretKeySelector, SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use launchway_crds::{
    PipelineExecution,
    digest::Sha256Digest,
    environment::Resources,
    git::{Commit, PackageRepository},
    names::child_name,
    version::ArtifactsVersion,
};
use serde_json::json;

use super::{job::Installation, pod, test_job::Parts};
use crate::plan::execution::action::Sources;

/// Name of the container that checks the commit out.
pub const FETCH: &str = "fetch";
/// Name of the container that runs the commands.
pub const BUILD: &str = "build";
/// Name of the container that counts tests and uploads packages.
pub const PACK: &str = "pack";
/// Name of the container that asks a Git server which commit a ref is.
pub const RESOLVE: &str = "resolve";
/// Name of the container that brings our program into the builder's image.
pub const TOOLS: &str = "tools";

/// Where the sources are.
const SOURCE: &str = "/workspace";
/// Home of the build.
const HOME: &str = "/home/build";
/// Where the build says how its commands ended.
const END: &str = "/var/run/launchway/end";
/// Where the Git login is.
const LOGIN: &str = "/var/run/launchway/git";
/// Where the cache is while it is prepared.
const CACHE: &str = "/cache";
/// Where our program is in images that are not ours.
const PROGRAM: &str = "/opt/launchway";
/// What the cache keeps, below the home and inside its volume.
const CACHED: [(&str, &str); 3] = [(".m2/repository", "maven"), (".npm", "npm"), (".cache", "cache")];

/// Runs each argument as a command of its own and leaves `NUMBER CODE` of the first that fails, or `0 0`.
const RUN: &str = r#"number=0
for command; do
  number=$((number + 1))
  printf '\n+ %s\n' "$command"
  /bin/sh -e -c "$command"
  code=$?
  if [ "$code" -ne 0 ]; then
    printf '\ncommand %s exited with %s\n' "$number" "$code"
    printf '%s %s' "$number" "$code" >"$LAUNCHWAY_END/commands"
    exit 0
  fi
done
printf '0 0' >"$LAUNCHWAY_END/commands"
"#;

/// A pod that asks a Git server which commit the ref of a pipeline is.
pub(super) fn resolve(sources: &Sources, installation: &Installation) -> Parts {
    let request = json!({ "url": sources.remote.url, "ref": sources.remote.reference, "login": LOGIN });
    let (tools, program) = program(installation);
    let (scratch, mut mounts) = pod::writable("tmp", &["/tmp".to_string()], Some("64Mi"));
    mounts.push(program);
    let login = login(sources);
    mounts.extend(login.as_ref().map(|(_, mount)| mount.clone()));
    let container = Container {
        volume_mounts: Some(mounts),
        ..ours(RESOLVE, sources, installation, ("LAUNCHWAY_RESOLVE", request.to_string()))
    };
    Parts {
        init_containers: vec![tools],
        containers: vec![container],
        volumes: [scratch, tools_volume()].into_iter().chain(login.map(|(volume, _)| volume)).collect(),
        grace_seconds: Some(5),
        default_container: Some(RESOLVE),
    }
}

/// What a build is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Build<'a> {
    pub(super) sources: &'a Sources,
    pub(super) commit: &'a Commit,
    pub(super) key: Sha256Digest,
    pub(super) packages: &'a PackageRepository,
    pub(super) version: Option<&'a ArtifactsVersion>,
}

/// A pod that makes packages of a commit.
pub(super) fn build(execution: &PipelineExecution, build: &Build<'_>, installation: &Installation) -> Parts {
    let git = &build.sources.git;
    let folders = [SOURCE, HOME, END, "/tmp"].map(str::to_string);
    let (work, mounts) = pod::writable("work", &folders, Some(&git.builder.disk.0));
    let cache = git.builder.cache.as_ref().map(|_| volume_of(&build.sources.pipeline));
    let (tools, program) = program(installation);
    let login = login(build.sources);
    let upload = build.packages.secret_ref.as_ref().map(|secret| pod::credentials("target", &secret.name)).unzip();

    let mut fetched = mounts.clone();
    fetched.push(program);
    fetched.extend(login.as_ref().map(|(_, mount)| mount.clone()));
    fetched.extend(cache.as_ref().map(|_| mount("cache", CACHE, None)));
    let request = json!({
        "url": build.commit.url,
        "ref": build.commit.reference,
        "commit": build.commit.id,
        "submodules": git.submodules,
        "login": LOGIN,
        "folder": SOURCE,
        "home": HOME,
        "bytes": bytes(&git.builder.disk),
        "cache": cache.as_ref().map(|_| json!({
            "folder": CACHE,
            "epoch": build.sources.cache_epoch,
            "parts": CACHED.map(|(_, part)| part),
        })),
        "version": build.version,
    });
    let fetch = Container {
        volume_mounts: Some(fetched),
        ..ours(FETCH, build.sources, installation, ("LAUNCHWAY_FETCH", request.to_string()))
    };

    let mut seen = mounts.clone();
    seen.extend(
        cache.iter().flat_map(|_| CACHED).map(|(path, part)| mount("cache", &format!("{HOME}/{path}"), Some(part))),
    );
    let commands = Container {
        name: BUILD.into(),
        image: Some(build.sources.builder.to_string()),
        command: Some(vec!["/bin/sh".into(), "-c".into(), RUN.into(), "build".into()]),
        args: Some(git.builder.commands.clone()),
        working_dir: Some(SOURCE.into()),
        env: Some(variables(execution, build)),
        resources: Some(resources(&git.builder.resources)),
        volume_mounts: Some(seen),
        security_context: Some(pod::restricted()),
        ..Container::default()
    };

    let mut read: Vec<VolumeMount> = mounts
        .into_iter()
        .filter(|mount| mount.mount_path == SOURCE || mount.mount_path == END)
        .map(|mount| VolumeMount { read_only: Some(true), ..mount })
        .collect();
    read.extend(upload.1);
    let (namespace, name) = identity(execution);
    let request = json!({
        "folder": SOURCE,
        "end": END,
        "commands": git.builder.commands,
        "target": build.packages.repository,
        "plainHttp": build.packages.plain_http,
        "url": build.commit.url,
        "commit": build.commit.id,
        "key": build.key,
        "execution": format!("{namespace}/{name}"),
        "version": build.version,
    });
    let pack = Container {
        name: PACK.into(),
        image: Some(installation.image.clone()),
        args: Some(vec!["worker".into(), PACK.into()]),
        env: Some(vec![pod::env("LAUNCHWAY_PACK", request.to_string())]),
        resources: Some(small(&installation.build_memory)),
        volume_mounts: Some(read),
        security_context: Some(pod::restricted()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    };
    let claim = cache.map(|claim_name| Volume {
        name: "cache".into(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource { claim_name, read_only: None }),
        ..Volume::default()
    });
    Parts {
        init_containers: vec![tools, fetch, commands],
        containers: vec![pack],
        volumes: [work, tools_volume()]
            .into_iter()
            .chain(claim)
            .chain(login.map(|(volume, _)| volume))
            .chain(upload.0)
            .collect(),
        grace_seconds: Some(5),
        default_container: Some(BUILD),
    }
}

/// Name of the volume claim with a pipeline's cache.
#[must_use]
pub fn volume_of(pipeline: &str) -> String {
    child_name(pipeline, "build-cache")
}

fn identity(execution: &PipelineExecution) -> (&str, &str) {
    let meta = &execution.metadata;
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// The environment of the commands: what has a default, then the pipeline's variables, then what nobody may change; the
/// last of two of one name wins. Names and values are Cloud Manager's where it has them (`cloud-manager.md §4.4`).
fn variables(execution: &PipelineExecution, build: &Build<'_>) -> Vec<EnvVar> {
    let builder = &build.sources.git.builder;
    let (namespace, name) = identity(execution);
    // A user without an entry in the image's /etc/passwd has no home for Java, whatever HOME says.
    let maven = format!("-Duser.home={HOME} -Dmaven.repo.local={HOME}/.m2/repository");
    let mut all = vec![pod::env("MAVEN_OPTS", maven), pod::env("MAVEN_CONFIG", "")];
    all.extend(builder.variables.iter().map(|one| pod::env(&one.name, one.value.clone())));
    all.extend(builder.secrets.iter().map(|one| EnvVar {
        name: one.name.clone(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: one.secret_key_ref.name.clone(),
                key: one.secret_key_ref.key.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }));
    all.extend([
        pod::env("HOME", HOME),
        pod::env("CM_BUILD", "true"),
        pod::env("BRANCH", build.sources.remote.branch_name().to_string()),
        pod::env("CM_PIPELINE_ID", build.sources.pipeline_uid.clone()),
        pod::env("CM_PIPELINE_NAME", build.sources.pipeline.clone()),
        pod::env("CM_PROGRAM_ID", namespace),
        pod::env("CM_PROGRAM_NAME", namespace),
        pod::env("LAUNCHWAY_EXECUTION", name),
        pod::env("LAUNCHWAY_COMMIT", build.commit.id.clone()),
        pod::env("LAUNCHWAY_END", END),
        // The kubelet makes the folder of the checkout: Git would ask whose it is.
        pod::env("GIT_CONFIG_COUNT", "1"),
        pod::env("GIT_CONFIG_KEY_0", "safe.directory"),
        pod::env("GIT_CONFIG_VALUE_0", SOURCE),
    ]);
    all.extend(build.version.map(|version| pod::env("ARTIFACTS_VERSION", version.to_string())));
    all
}

/// A container that runs our program in the installation's builder, where Git is; without one in the project's own.
fn ours(subcommand: &str, sources: &Sources, installation: &Installation, request: (&str, String)) -> Container {
    let image = installation.builder.as_ref().unwrap_or(&sources.builder);
    Container {
        name: subcommand.into(),
        image: Some(image.to_string()),
        command: Some(vec![format!("{PROGRAM}/launchway"), "worker".into(), subcommand.into()]),
        env: Some(vec![pod::env(request.0, request.1)]),
        resources: Some(small("512Mi")),
        security_context: Some(pod::restricted()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    }
}

/// Brings our program into a volume, for images that are not ours, and where it is found there.
fn program(installation: &Installation) -> (Container, VolumeMount) {
    let container = Container {
        name: TOOLS.into(),
        image: Some(installation.image.clone()),
        args: Some(vec!["worker".into(), "install".into()]),
        env: Some(vec![pod::env("LAUNCHWAY_INSTALL", PROGRAM)]),
        resources: Some(small("64Mi")),
        volume_mounts: Some(vec![mount("tools", PROGRAM, None)]),
        security_context: Some(pod::restricted()),
        ..Container::default()
    };
    (container, VolumeMount { read_only: Some(true), ..mount("tools", PROGRAM, None) })
}

fn tools_volume() -> Volume {
    pod::writable("tools", &[PROGRAM.to_string()], Some("256Mi")).0
}

/// The Git login. Which keys are there says how it logs in.
fn login(sources: &Sources) -> Option<(Volume, VolumeMount)> {
    let secret = sources.git.secret_ref.as_ref()?;
    let keys = ["username", "password", "ssh-privatekey", "identity", "known_hosts", "ca.crt"];
    // A Secret that lacks some of these keys is mounted with the others.
    let items = keys.map(|key| KeyToPath { key: key.into(), path: key.into(), mode: None });
    let source = SecretVolumeSource {
        secret_name: Some(secret.name.clone()),
        items: Some(items.to_vec()),
        optional: Some(true),
        ..SecretVolumeSource::default()
    };
    let volume = Volume { name: "login".into(), secret: Some(source), ..Volume::default() };
    Some((volume, VolumeMount { read_only: Some(true), ..mount("login", LOGIN, None) }))
}

fn mount(volume: &str, path: &str, part: Option<&str>) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        sub_path: part.map(str::to_string),
        ..VolumeMount::default()
    }
}

fn quantities<const N: usize>(all: [(&str, &str); N]) -> std::collections::BTreeMap<String, Quantity> {
    all.into_iter().map(|(name, value)| (name.to_string(), Quantity(value.into()))).collect()
}

fn small(memory: &str) -> ResourceRequirements {
    ResourceRequirements {
        requests: Some(quantities([("cpu", "50m"), ("memory", "32Mi")])),
        limits: Some(quantities([("memory", memory)])),
        claims: None,
    }
}

/// What the pipeline says of the build's container; of what it says nothing, the defaults.
fn resources(own: &Resources) -> ResourceRequirements {
    let mut requests = own.requests.clone();
    let mut limits = own.limits.clone();
    limits.entry("memory".into()).or_insert_with(|| Quantity("2Gi".into()));
    for (name, value) in quantities([("cpu", "500m"), ("memory", "512Mi")]) {
        // A request must not be larger than a limit that the pipeline names.
        if !own.limits.contains_key(&name) {
            requests.entry(name).or_insert(value);
        }
    }
    ResourceRequirements { requests: Some(requests), limits: Some(limits), claims: None }
}

/// Whole bytes of a quantity, where it has a unit that sizes of disks are written with.
fn bytes(quantity: &Quantity) -> Option<u64> {
    crate::config::memory(&quantity.0)
}

#[cfg(test)]
mod tests;
