//! NetworkPolicies of an Environment: who may reach the pods of each tier, on the port that serves HTTP; and pods of the
//! cluster, such as the operator or a Prometheus, what dispatchers have counted. What pods call is not limited: integrations
//! of a project are its own business.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};
use launchway_crds::{
    Environment,
    environment::Tier,
    names::{FIELD_MANAGER, labels},
    network::Peer,
};

use crate::plan::environment::objects::Further;

use super::{
    meta,
    service::{HTTP_NAME, METRICS_NAME},
};

/// The policy of a tier.
#[must_use]
pub fn policy(environment: &Environment, tier: Tier) -> NetworkPolicy {
    let owner = environment.metadata.name.as_deref().unwrap_or_default();
    let network = &environment.spec.network;
    let peers: Option<Vec<NetworkPolicyPeer>> = match tier {
        // Visitors, ingress controllers, tests, publish that flushes: whoever asks for pages.
        Tier::Dispatcher => None,
        // Dispatchers ask for pages, the author replicates.
        Tier::Publish => {
            let own = [Tier::Dispatcher, Tier::Author].map(|tier| of_tier(owner, tier));
            Some(own.into_iter().chain(network.publish_from.iter().map(peer)).collect())
        }
        // An ingress controller may run anywhere.
        Tier::Author if environment.spec.route.as_ref().is_some_and(|route| route.author.is_some()) => None,
        Tier::Author => Some(std::iter::once(jobs()).chain(network.author_from.iter().map(peer)).collect()),
    };
    NetworkPolicy {
        metadata: meta::of_environment(
            environment,
            Further::Policy(tier).of(owner),
            meta::map([(labels::TIER, tier.as_str())]),
        ),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(meta::matching(meta::selector(owner, tier))),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(std::iter::once(rule(peers, HTTP_NAME)).chain(counters(tier)).collect()),
            egress: None,
        }),
    }
}

/// Who may reach a port; none: everybody.
fn rule(from: Option<Vec<NetworkPolicyPeer>>, port: &str) -> NetworkPolicyIngressRule {
    let port = NetworkPolicyPort {
        port: Some(IntOrString::String(port.into())),
        protocol: Some("TCP".into()),
        end_port: None,
    };
    NetworkPolicyIngressRule { from, ports: Some(vec![port]) }
}

/// Counters are for pods of the cluster, in whatever namespace, and not for whoever comes from outside of it.
fn counters(tier: Tier) -> Option<NetworkPolicyIngressRule> {
    let pods = NetworkPolicyPeer { namespace_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() };
    match tier {
        Tier::Dispatcher => Some(rule(Some(vec![pods]), METRICS_NAME)),
        Tier::Author | Tier::Publish => None,
    }
}

/// Somebody that the spec lets in.
fn peer(Peer { pod_labels, namespace_labels, cidr }: &Peer) -> NetworkPolicyPeer {
    let some = |all: &BTreeMap<String, String>| (!all.is_empty()).then(|| meta::matching(all.clone()));
    NetworkPolicyPeer {
        ip_block: cidr.as_ref().map(|cidr| IPBlock { cidr: cidr.clone(), except: None }),
        namespace_selector: some(namespace_labels),
        pod_selector: some(pod_labels),
    }
}

/// Pods of a tier of the same Environment.
fn of_tier(environment: &str, tier: Tier) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(meta::matching(meta::selector(environment, tier))),
        ..NetworkPolicyPeer::default()
    }
}

/// Pods of Launchway's Jobs in the namespace, tests above all: made by the operator, and of no tier.
fn jobs() -> NetworkPolicyPeer {
    let no_tier = LabelSelectorRequirement { key: labels::TIER.into(), operator: "DoesNotExist".into(), values: None };
    NetworkPolicyPeer {
        pod_selector: Some(LabelSelector {
            match_labels: Some(meta::map([(labels::MANAGED_BY, FIELD_MANAGER)])),
            match_expressions: Some(vec![no_tier]),
        }),
        ..NetworkPolicyPeer::default()
    }
}
