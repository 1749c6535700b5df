//! Every object of an Environment that runs a release, as it is when the rollout is complete.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Service};
use launchway_crds::environment::Tier;
use serde_json::Value;

use crate::plan::environment::{ServiceName, objects::Further};

use super::{Release, compare::marked, further, service::service, workload::stateful_set};

/// The objects, in the order in which they are applied: rules, Services, workloads.
#[must_use]
pub fn objects(release: &Release<'_>) -> Vec<Value> {
    let environment = release.environment;
    let (spec, revision) = (&environment.spec, release.revisions().aem);
    let pairs = spec.publish.replicas;
    let rules = Further::ALL.into_iter().filter(|object| object.wanted(spec));
    let services = ServiceName::all(pairs).map(|name| service(environment, &name, &revision));
    let workloads = Tier::ALL.into_iter().map(|tier| {
        let replicas = if tier == Tier::Author { 1 } else { pairs };
        stateful_set(release, tier, replicas, 0)
    });
    rules
        .filter_map(|object| further::rendered(environment, object))
        .chain(services.filter_map(|object: Service| marked(&object)))
        .chain(workloads.filter_map(|object: StatefulSet| marked(&object)))
        .collect()
}

/// Kind and name of an object.
#[must_use]
pub fn identity(object: &Value) -> (&str, &str) {
    (object["kind"].as_str().unwrap_or_default(), object["metadata"]["name"].as_str().unwrap_or_default())
}
