//! Services of an Environment.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use launchway_crds::{Environment, environment::Tier, names::labels};

use crate::plan::environment::ServiceName;

use super::meta;

/// Port of every Service that serves HTTP.
pub const HTTP_PORT: i32 = 80;
/// Name of the port of every container that serves HTTP.
pub const HTTP_NAME: &str = "http";
/// Name of the port of a dispatcher that serves what it has counted.
pub const METRICS_NAME: &str = "metrics";
/// Label that the StatefulSet controller gives its pods.
const ORDINAL: &str = "apps.kubernetes.io/pod-index";

/// A Service of an Environment, for pods of a revision where that matters.
#[must_use]
pub fn service(environment: &Environment, name: &ServiceName, revision: &str) -> Service {
    let owner = environment.metadata.name.as_deref().unwrap_or_default();
    let (tier, further, headless) = match name {
        ServiceName::Pods(tier) => (*tier, BTreeMap::new(), true),
        ServiceName::Author => (Tier::Author, BTreeMap::new(), false),
        ServiceName::Dispatcher => (Tier::Dispatcher, BTreeMap::new(), false),
        ServiceName::Pair { ordinal } => {
            (Tier::Publish, meta::map([(labels::REVISION, revision), (ORDINAL, &ordinal.to_string())]), false)
        }
    };
    let mut selector = meta::selector(owner, tier);
    selector.extend(further);
    Service {
        metadata: meta::of_environment(
            environment,
            name.of(owner, revision),
            meta::map([(labels::TIER, tier.as_str())]),
        ),
        spec: Some(ServiceSpec {
            cluster_ip: headless.then(|| "None".into()),
            selector: Some(selector),
            ports: Some(vec![ServicePort {
                name: Some(HTTP_NAME.into()),
                port: HTTP_PORT,
                target_port: Some(IntOrString::String(HTTP_NAME.into())),
                ..ServicePort::default()
            }]),
            // Names of pods that start are looked up by those that wait for them.
            publish_not_ready_addresses: headless.then_some(true),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
