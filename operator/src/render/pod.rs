//! Parts of pods that every workload and Job shares: Pod Security "restricted", in one place.

use k8s_openapi::{
    api::core::v1::{
        Capabilities, EmptyDirVolumeSource, EnvVar, KeyToPath, PodSecurityContext, ProjectedVolumeSource,
        SeccompProfile, SecretProjection, SecretVolumeSource, SecurityContext, Sysctl, Volume, VolumeMount,
        VolumeProjection,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use launchway_crds::pipeline::SIGNING_KEY;

/// Security context of every container.
pub(super) fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        ..SecurityContext::default()
    }
}

/// Security context of a pod whose image runs as a user.
pub(super) fn non_root(user: i64, group: Option<i64>) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(user),
        run_as_group: group,
        fs_group: Some(group.unwrap_or(user)),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

/// A safe sysctl, allowed by Pod Security: a port below 1024 for a process that is not root.
pub(super) fn low_ports() -> Sysctl {
    Sysctl { name: "net.ipv4.ip_unprivileged_port_start".into(), value: "0".into() }
}

/// An environment variable with a literal value.
pub(super) fn env(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

/// Writable folders on a read-only root, one volume with a folder each.
pub(super) fn writable(name: &str, paths: &[String], limit: Option<&str>) -> (Volume, Vec<VolumeMount>) {
    let volume = Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit: limit.map(|limit| Quantity(limit.into())), medium: None }),
        ..Volume::default()
    };
    let mounts = paths
        .iter()
        .enumerate()
        .map(|(index, path)| VolumeMount {
            name: name.into(),
            mount_path: path.clone(),
            sub_path: (paths.len() > 1).then(|| index.to_string()),
            ..VolumeMount::default()
        })
        .collect();
    (volume, mounts)
}

/// Where a container finds the credentials of registries, in a folder for each part.
const CREDENTIALS: &str = "/var/run/launchway/credentials";
/// Where the key that signs is.
pub(super) const SIGNING: &str = "/var/run/launchway/signing";

/// A registry's credentials for one part of the work (`source`, `target`), as a volume and where it is mounted: the
/// dockerconfigjson of a Secret, and the certificate of a private authority (`ca.crt`) if the Secret has one.
pub(super) fn credentials(part: &str, secret: &str) -> (Volume, VolumeMount) {
    let source = |key: &str, optional: bool| VolumeProjection {
        secret: Some(SecretProjection {
            name: secret.into(),
            items: Some(vec![KeyToPath { key: key.into(), path: key.into(), mode: None }]),
            optional: optional.then_some(true),
        }),
        ..VolumeProjection::default()
    };
    let volume = Volume {
        name: part.into(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![source(".dockerconfigjson", false), source("ca.crt", true)]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    };
    let mount = VolumeMount {
        name: part.into(),
        mount_path: format!("{CREDENTIALS}/{part}"),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    (volume, mount)
}

/// The private key of a signing Secret, as a volume and where it is mounted. A pod waits for a Secret that does not exist
/// until its Job runs out of time: this one may be missing, and who reads the file says so at once.
pub(super) fn signing(secret: &str) -> (Volume, VolumeMount) {
    let volume = Volume {
        name: "signing".into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.into()),
            items: Some(vec![KeyToPath { key: SIGNING_KEY.into(), path: SIGNING_KEY.into(), mode: None }]),
            optional: Some(true),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    let mount = VolumeMount {
        name: "signing".into(),
        mount_path: SIGNING.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    (volume, mount)
}
