//! Whether approvals can be trusted: the admission policy and a binding that denies are in force.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client};

use crate::{
    error::{Error, bounded},
    plan::execution::world::Guard,
};

/// Looks at the policy and its binding, both of the given name.
pub(super) async fn look(client: &Client, name: &str) -> Result<Guard, Error> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let (policy, binding) = tokio::try_join!(
        bounded("read the approval policy", policies.get_opt(name)),
        bounded("read the approval policy's binding", bindings.get_opt(name))
    )?;
    let Some(policy) = policy else {
        return Ok(Guard::Missing(format!("ValidatingAdmissionPolicy {name} is missing")));
    };
    if policy.spec.as_ref().is_none_or(|spec| spec.failure_policy.as_deref() == Some("Ignore")) {
        return Ok(Guard::Missing(format!("ValidatingAdmissionPolicy {name} ignores failures")));
    }
    let since = [Some(&policy.metadata), binding.as_ref().map(|binding| &binding.metadata)]
        .into_iter()
        .flatten()
        .filter_map(changed_at)
        .max()
        .unwrap_or(Timestamp::MAX);
    let Some(spec) = binding.map(|binding| binding.spec) else {
        return Ok(Guard::Missing(format!("ValidatingAdmissionPolicyBinding {name} is missing")));
    };
    let denies = spec.validation_actions.iter().any(|action| action == "Deny");
    if spec.policy_name != name || !denies || spec.match_resources.is_some() {
        return Ok(Guard::Missing(format!(
            "ValidatingAdmissionPolicyBinding {name} does not bind the policy everywhere with the action Deny"
        )));
    }
    Ok(Guard::InForce { since })
}

/// When an object was created or its spec last written: before that it may have guarded nothing.
fn changed_at(meta: &ObjectMeta) -> Option<Timestamp> {
    let written = meta
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| !fields.0["f:spec"].is_null()));
    let times = written.filter_map(|entry| entry.time.as_ref()).chain(&meta.creation_timestamp);
    times.map(|time| time.0).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_was_edited_counts_from_the_edit() {
        let meta: ObjectMeta = serde_json::from_value(serde_json::json!({
            "creationTimestamp": "2026-11-01T00:00:00Z",
            "managedFields": [
                { "manager": "helm", "time": "2026-11-01T00:00:00Z", "fieldsV1": { "f:spec": { "f:failurePolicy": {} } } },
                { "manager": "kubectl", "time": "2026-11-05T00:00:00Z", "fieldsV1": { "f:spec": { "f:failurePolicy": {} } } },
                { "manager": "labeller", "time": "2026-11-09T00:00:00Z", "fieldsV1": { "f:metadata": {} } },
            ],
        }))
        .unwrap();
        assert_eq!(changed_at(&meta), Some("2026-11-05T00:00:00Z".parse().unwrap()));
    }
}
