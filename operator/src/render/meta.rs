//! Names, labels and owners: one way for every object.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::Resource;
use launchway_crds::{
    Environment, PipelineExecution,
    environment::Tier,
    names::{FIELD_MANAGER, label_value, labels},
};

/// Labels that select the pods of a tier.
pub(super) fn selector(environment: &str, tier: Tier) -> BTreeMap<String, String> {
    map([(labels::ENVIRONMENT, environment), (labels::TIER, tier.as_str())])
}

/// A map of owned texts.
pub(super) fn map<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// Metadata of an object that belongs to an Environment.
pub(super) fn of_environment(owner: &Environment, name: String, further: BTreeMap<String, String>) -> ObjectMeta {
    let mut all = map([
        (labels::MANAGED_BY, FIELD_MANAGER),
        (labels::ENVIRONMENT, owner.metadata.name.as_deref().unwrap_or_default()),
    ]);
    all.extend(further);
    ObjectMeta {
        name: Some(name),
        namespace: owner.metadata.namespace.clone(),
        labels: Some(all),
        owner_references: owner.controller_owner_ref(&()).map(|reference| vec![reference]),
        ..ObjectMeta::default()
    }
}

/// Metadata of a Job that belongs to an execution.
pub(super) fn of_execution(owner: &PipelineExecution, name: String, step: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: owner.metadata.namespace.clone(),
        labels: Some(of_step(owner, step)),
        owner_references: owner.controller_owner_ref(&()).map(|reference| vec![reference]),
        ..ObjectMeta::default()
    }
}

/// Labels of a Job and of its pod.
pub(super) fn of_step(owner: &PipelineExecution, step: &str) -> BTreeMap<String, String> {
    let name = label_value(owner.metadata.name.as_deref().unwrap_or_default());
    map([(labels::MANAGED_BY, FIELD_MANAGER), (labels::EXECUTION, &name), (labels::STEP, step)])
}

/// A selector by labels.
pub(super) fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}
