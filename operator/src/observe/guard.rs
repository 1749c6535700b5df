//! Whether a request can be trusted: the admission policies that judge it, each with a binding that denies, are in force.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client};

use crate::{
    error::{Error, bounded},
    plan::execution::world::{Guard, Guarded},
};

/// Names of the policies, and of their bindings, that guard the request with the given annotation key.
///
/// The first judges creations: what a request is compared with, such as who asked for the execution, rests on it. The
/// second judges the request itself. The chart makes both (`templates/policies`).
fn policies(base: &str, request: &str) -> [String; 2] {
    let own = request.rsplit_once('/').map_or(request, |(_, name)| name);
    [base.to_string(), format!("{base}-{own}")]
}

/// Looks at every policy that a creation, or the request with the given annotation key, needs, and at its binding.
///
/// `base` is the name of the policy that judges creations. The guard is in force since the youngest of them was made or
/// edited.
///
/// # Errors
/// When the apiserver does not answer.
pub(super) async fn look(client: &Client, base: &str, what: Guarded) -> Result<Guard, Error> {
    let Guarded::Request(request) = what else { return one(client, base).await };
    let [creation, own] = policies(base, request);
    let (creation, own) = tokio::try_join!(one(client, &creation), one(client, &own))?;
    Ok(both(creation, own))
}

async fn one(client: &Client, name: &str) -> Result<Guard, Error> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let (policy, binding) = tokio::try_join!(
        bounded("read an admission policy", policies.get_opt(name)),
        bounded("read an admission policy's binding", bindings.get_opt(name))
    )?;
    Ok(judge(name, policy, binding.as_ref()))
}

/// The guard of creations and that of a request are one: what is missing of either is missing, and neither guarded before
/// it was there.
fn both(creation: Guard, own: Guard) -> Guard {
    match (creation, own) {
        (Guard::InForce { since: one, creations_since }, Guard::InForce { since: other, .. }) => {
            Guard::InForce { since: one.max(other), creations_since }
        }
        (Guard::InForce { .. }, missing) | (missing, _) => missing,
    }
}

fn judge(
    name: &str,
    policy: Option<ValidatingAdmissionPolicy>,
    binding: Option<&ValidatingAdmissionPolicyBinding>,
) -> Guard {
    let Some(policy) = policy else {
        return Guard::Missing(format!("ValidatingAdmissionPolicy {name} is missing"));
    };
    if policy.spec.as_ref().is_none_or(|spec| spec.failure_policy.as_deref() == Some("Ignore")) {
        return Guard::Missing(format!("ValidatingAdmissionPolicy {name} ignores failures"));
    }
    let metas = || [Some(&policy.metadata), binding.map(|binding| &binding.metadata)].into_iter().flatten();
    let since = metas().filter_map(changed_at).max().unwrap_or(Timestamp::MAX);
    let creations_since = metas().filter_map(created_at).max().unwrap_or(Timestamp::MAX);
    let Some(spec) = binding.map(|binding| &binding.spec) else {
        return Guard::Missing(format!("ValidatingAdmissionPolicyBinding {name} is missing"));
    };
    let denies = spec.validation_actions.iter().any(|action| action == "Deny");
    if spec.policy_name != name || !denies || spec.match_resources.is_some() {
        return Guard::Missing(format!(
            "ValidatingAdmissionPolicyBinding {name} does not bind the policy everywhere with the action Deny"
        ));
    }
    Guard::InForce { since, creations_since }
}

fn created_at(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.creation_timestamp.as_ref().map(|time| time.0)
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
    use launchway_crds::names::requests;
    use serde_json::{Value, json};

    use super::*;

    fn policy(created: &str) -> Value {
        json!({"metadata": {"creationTimestamp": created}, "spec": {"failurePolicy": "Fail"}})
    }

    fn binding(created: &str) -> Value {
        json!({
            "metadata": {"creationTimestamp": created},
            "spec": {"policyName": "p", "validationActions": ["Deny"]},
        })
    }

    fn judged(policy: &Value, binding: &Value) -> Guard {
        let binding: Option<ValidatingAdmissionPolicyBinding> = serde_json::from_value(binding.clone()).unwrap();
        judge("p", serde_json::from_value(policy.clone()).unwrap(), binding.as_ref())
    }

    fn since(time: &str) -> Guard {
        Guard::InForce { since: time.parse().unwrap(), creations_since: time.parse().unwrap() }
    }

    const OLD: &str = "2026-11-01T00:00:00Z";
    const NEW: &str = "2026-11-05T00:00:00Z";

    #[test]
    fn a_request_needs_the_policy_of_creations_and_its_own() {
        assert_eq!(policies("x-requests", requests::MANAGED_GO), ["x-requests", "x-requests-managed-go"]);
        assert_eq!(policies("x", requests::APPROVE_STAGE)[1], "x-approve-stage");
    }

    #[test]
    fn a_guard_is_as_young_as_its_youngest_part() {
        assert_eq!(judged(&policy(OLD), &binding(NEW)), since(NEW));
        assert_eq!(judged(&policy(NEW), &binding(OLD)), since(NEW));
        assert_eq!(both(since(NEW), since(OLD)), since(NEW));
        let Guard::InForce { creations_since, .. } = both(since(OLD), since(NEW)) else { panic!() };
        assert_eq!(creations_since, OLD.parse().unwrap(), "a request's own policy judges no creation");
    }

    #[test]
    fn what_is_missing_of_one_guard_is_missing_of_both() {
        let missing = || Guard::Missing("it".into());
        for (one, other) in [(missing(), since(OLD)), (since(OLD), missing()), (missing(), missing())] {
            assert_eq!(both(one, other), missing());
        }
    }

    #[test]
    fn a_policy_that_does_not_deny_everywhere_is_no_guard() {
        let changed = |object: Value, path: &str, value: Value| {
            let mut object = object;
            object["spec"][path] = value;
            object
        };
        let everywhere = binding(OLD);
        for (policy, binding, what) in [
            (Value::Null, everywhere.clone(), "ValidatingAdmissionPolicy p is missing"),
            (policy(OLD), Value::Null, "ValidatingAdmissionPolicyBinding p is missing"),
            (changed(policy(OLD), "failurePolicy", json!("Ignore")), everywhere.clone(), "ignores failures"),
            (policy(OLD), changed(everywhere.clone(), "validationActions", json!(["Audit", "Warn"])), "Deny"),
            (policy(OLD), changed(everywhere.clone(), "policyName", json!("q")), "does not bind the policy"),
            (policy(OLD), changed(everywhere, "matchResources", json!({"namespaceSelector": {}})), "everywhere"),
        ] {
            let guard = judged(&policy, &binding);
            assert!(matches!(&guard, Guard::Missing(why) if why.contains(what)), "{what}: {guard:?}");
        }
    }

    #[test]
    fn a_policy_that_was_edited_counts_from_the_edit() {
        let meta: ObjectMeta = serde_json::from_value(json!({
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
