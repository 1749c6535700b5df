//! Environment variables of an Environment's containers, with a value of their own or from a Secret.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::environment::Tier;

/// Longest value of a plain variable, in characters: the schema holds users to it.
pub const VALUE_MAX: usize = 2048;
/// Longest value of a variable from a Secret, in characters, as in Cloud Manager. The operator holds users to it, for
/// the schema does not see the Secret.
pub const SECRET_VALUE_MAX: usize = 500;

/// An environment variable: a value, or a key of a Secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.secretKeyRef)").message("a variable has value or secretKeyRef: exactly one of them"))]
#[x_kube(validation = Rule::new("!(has(self.secretKeyRef) && has(self.services) && 'dispatcher' in self.services)").message("variables from Secrets are not for the dispatcher: leave it out of services"))]
pub struct Variable {
    /// Name: letters, digits and underscores, 2 to 100 characters, not beginning with a digit,
    /// `INTERNAL_`, `ADOBE_`, `CONST_` or `LAUNCHWAY_`, and none that the operator sets itself.
    #[schemars(length(min = 2, max = 100), regex(pattern = r"^[a-zA-Z_][a-zA-Z_0-9]*$"))]
    #[x_kube(validation = Rule::new("!self.startsWith('INTERNAL_') && !self.startsWith('ADOBE_') && !self.startsWith('CONST_') && !self.startsWith('LAUNCHWAY_')").message("names that begin with INTERNAL_, ADOBE_, CONST_ or LAUNCHWAY_ are reserved: choose another"))]
    #[x_kube(validation = Rule::new("!(self in ['POD_NAME', 'AEM_HOST', 'AEM_PORT', 'ENVIRONMENT_TYPE'])").message("POD_NAME, AEM_HOST, AEM_PORT and ENVIRONMENT_TYPE are set by the operator: choose another name"))]
    pub name: String,
    /// Value; it is readable by everyone who can read the Environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub value: Option<String>,
    /// Where the value is: text of at most 500 characters. A change of it is rolled out within a minute or so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// Services that get it. Default: all; of a variable from a Secret author and publish, for the dispatcher gets none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub services: Vec<Tier>,
}

impl Variable {
    /// Whether a service gets it.
    #[must_use]
    pub fn is_for(&self, tier: Tier) -> bool {
        let named = self.services.is_empty() || self.services.contains(&tier);
        named && (self.secret_key_ref.is_none() || tier != Tier::Dispatcher)
    }
}

/// A key of a Secret of the Environment's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in its `data`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_goes_to_the_dispatcher() {
        let mut variable =
            Variable { name: "AA".into(), value: Some("x".into()), secret_key_ref: None, services: vec![] };
        assert!(Tier::ALL.into_iter().all(|tier| variable.is_for(tier)));
        variable.secret_key_ref = Some(SecretKeyRef { name: "api".into(), key: "key".into() });
        assert_eq!(Tier::ALL.map(|tier| variable.is_for(tier)), [true, true, false]);
        variable.services = vec![Tier::Publish];
        assert_eq!(Tier::ALL.map(|tier| variable.is_for(tier)), [false, true, false]);
    }
}
