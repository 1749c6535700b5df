//! A version of a Pipeline, kept for the executions that run it.

use k8s_openapi::{
    api::apps::v1::ControllerRevision,
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, OwnerReference},
        runtime::RawExtension,
    },
};
use launchway_crds::{
    names::{FIELD_MANAGER, label_value, labels},
    pipeline::PipelineSpec,
    revision::PipelineRevision,
};

use crate::plan::execution::revision;

use super::meta::map;

/// The object that holds a version of a Pipeline: immutable, and gone with its Pipeline.
#[must_use]
pub fn controller_revision(
    namespace: &str,
    owner: &OwnerReference,
    spec: &PipelineSpec,
    wanted: &PipelineRevision,
) -> ControllerRevision {
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(wanted.name.clone()),
            namespace: Some(namespace.into()),
            labels: Some(map([(labels::MANAGED_BY, FIELD_MANAGER), (labels::PIPELINE, &label_value(&owner.name))])),
            owner_references: Some(vec![owner.clone()]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(revision::data(spec))),
        revision: wanted.generation,
    }
}
