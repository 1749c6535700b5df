//! Objects around the pod of a build.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
        networking::v1::{NetworkPolicy, NetworkPolicySpec},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource;
use launchway_crds::{
    Pipeline,
    names::{FIELD_MANAGER, labels},
    step::StepName,
};

use super::{build_job::volume_of, meta};
use crate::plan::execution::action::Sources;

/// Name of the policy.
const ISOLATION: &str = "launchway-builds";

/// Nobody connects to the pods of builds in a namespace. What they connect to is not limited here: the Git server,
/// repositories of libraries and the registry may be anywhere, and a policy of the namespace's own can say more.
#[must_use]
pub fn isolation(namespace: &str) -> NetworkPolicy {
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(ISOLATION.into()),
            namespace: Some(namespace.into()),
            labels: Some(meta::map([(labels::MANAGED_BY, FIELD_MANAGER)])),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(meta::matching(meta::map([
                (labels::MANAGED_BY, FIELD_MANAGER),
                (labels::STEP, StepName::Build.dashed()),
            ]))),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: None,
            egress: None,
        }),
    }
}

/// The claim for a pipeline's cache, if it wants one; it goes with the pipeline.
#[must_use]
pub fn cache(namespace: &str, sources: &Sources) -> Option<PersistentVolumeClaim> {
    let storage = sources.git.builder.cache.as_ref()?;
    let owner = OwnerReference {
        api_version: Pipeline::api_version(&()).into_owned(),
        kind: Pipeline::kind(&()).into_owned(),
        name: sources.pipeline.clone(),
        uid: sources.pipeline_uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(volume_of(&sources.pipeline)),
            namespace: Some(namespace.into()),
            labels: Some(meta::map([(labels::MANAGED_BY, FIELD_MANAGER)])),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_string(), storage.size.clone())])),
                limits: None,
            }),
            storage_class_name: storage.storage_class_name.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    })
}
