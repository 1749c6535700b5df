//! How an Environment is reached: its route from outside of the cluster, and who may reach which tier inside.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A host name, or a wildcard for one label: what an Ingress accepts.
const HOST: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// The way of visitors, and of editors if they have one, into the Environment: an Ingress for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Names that the site is asked for by: every path of them goes to the dispatchers. Built-in tests ask for the first that
    /// is no wildcard.
    #[schemars(extend("x-kubernetes-list-type" = "set"), length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = HOST)))]
    pub hosts: Vec<String>,
    /// Secret of type `kubernetes.io/tls` with the certificate of these names. Without it the Ingress has no TLS of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tls_secret_name: Option<String>,
    /// Class of both Ingresses; default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ingress_class_name: Option<String>,
    /// Annotations of both Ingresses, for their controller. Keys below `launchway.dev/` are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 32,
        "x-kubernetes-validations" = [{
            "rule": "self.all(key, !key.startsWith('launchway.dev/'))",
            "message": "keys below launchway.dev/ are reserved: choose others"
        }],
        "additionalProperties" = {"type": "string", "maxLength": 2048}
    ))]
    pub annotations: BTreeMap<String, String>,
    /// The way of editors to the author. Without it the author is reached inside of the cluster only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<AuthorRoute>,
}

/// The way of editors to the author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorRoute {
    /// Names that editors ask for: every path of them goes to the author.
    #[schemars(extend("x-kubernetes-list-type" = "set"), length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = HOST)))]
    pub hosts: Vec<String>,
    /// Secret of type `kubernetes.io/tls` with the certificate of these names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tls_secret_name: Option<String>,
}

/// Who may reach the pods of the Environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Whether NetworkPolicies let only those in who have business there: everybody to the dispatchers (pods of the
    /// cluster to their counters), dispatchers and author to publish, Jobs of Launchway (and everybody, with
    /// `spec.route.author`) to the author. What pods call is not limited.
    #[serde(default)]
    pub policies: NetworkPolicies,
    /// Who else may reach the author: a proxy of your own, for example.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 16))]
    pub author_from: Vec<Peer>,
    /// Who else may reach publish.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 16))]
    pub publish_from: Vec<Peer>,
}

/// Pods, or addresses outside of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.cidr) != (has(self.podLabels) || has(self.namespaceLabels))",
        "message": "name either cidr, or podLabels, namespaceLabels or both"
    },
    {
        "rule": "!has(self.cidr) || isCIDR(self.cidr)",
        "message": "cidr is no range of addresses: write it as 10.0.0.0/8 or 2001:db8::/32"
    }
]))]
pub struct Peer {
    /// Labels of the pods; without `namespaceLabels` pods of the Environment's own namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub pod_labels: BTreeMap<String, String>,
    /// Labels of the namespaces; without `podLabels` every pod of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub namespace_labels: BTreeMap<String, String>,
    /// Addresses, such as `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub cidr: Option<String>,
}

/// Whether NetworkPolicies are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicies {
    /// One for each tier.
    #[default]
    Enabled,
    /// None: the pods are as open as the namespace is.
    Disabled,
}
