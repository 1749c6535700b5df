//! The PodDisruptionBudget of an Environment: a drain of nodes takes one pair away at a time.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};
use launchway_crds::{Environment, environment::Tier, names::labels};

use crate::plan::environment::objects::Further;

use super::meta;

/// The budget of the pairs.
///
/// It counts the pods of both tiers together, for a pair serves with both or not at all: all pods but one have to be
/// ready before one may be evicted. What is left of its pair is unready then, and pods that are not ready may always be
/// evicted, so the rest of the pair follows and every other pair stays until this one is back. The number is that of the
/// spec: a surge pair that does not become ready holds up no drain.
#[must_use]
pub fn budget(environment: &Environment) -> PodDisruptionBudget {
    let owner = environment.metadata.name.as_deref().unwrap_or_default();
    let pods = environment.spec.publish.replicas.saturating_mul(2);
    let tiers = LabelSelectorRequirement {
        key: labels::TIER.into(),
        operator: "In".into(),
        values: Some([Tier::Publish, Tier::Dispatcher].map(|tier| tier.as_str().to_string()).to_vec()),
    };
    PodDisruptionBudget {
        metadata: meta::of_environment(environment, Further::Budget.of(owner), meta::map([])),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(pods.saturating_sub(1))),
            selector: Some(LabelSelector {
                match_labels: Some(meta::map([(labels::ENVIRONMENT, owner)])),
                match_expressions: Some(vec![tiers]),
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
