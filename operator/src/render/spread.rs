//! How the pairs of an Environment are spread: over zones, and over nodes, as far as there are any.

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use launchway_crds::environment::Tier;

use super::meta;

/// Labels of nodes that say where they are.
const WHERE: [&str; 2] = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"];

/// The wish of a tier's pods to stand apart. A wish only: on a cluster of one node they all run there.
#[must_use]
pub fn spread(environment: &str, tier: Tier) -> Option<Vec<TopologySpreadConstraint>> {
    match tier {
        Tier::Author => None,
        Tier::Publish | Tier::Dispatcher => Some(
            WHERE
                .iter()
                .map(|key| TopologySpreadConstraint {
                    max_skew: 1,
                    topology_key: (*key).into(),
                    when_unsatisfiable: "ScheduleAnyway".into(),
                    label_selector: Some(meta::matching(meta::selector(environment, tier))),
                    ..TopologySpreadConstraint::default()
                })
                .collect(),
        ),
    }
}
