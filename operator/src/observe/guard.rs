//! Whether approvals can be trusted: the admission policy and a binding that denies are in force.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
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
    let created = [
        policy.metadata.creation_timestamp.as_ref(),
        binding.as_ref().and_then(|binding| binding.metadata.creation_timestamp.as_ref()),
    ];
    let since = created.into_iter().flatten().map(|time| time.0).max().unwrap_or(jiff::Timestamp::MAX);
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
