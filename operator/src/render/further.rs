//! The objects of an Environment besides workloads and Services, whichever kind they are of.

use launchway_crds::Environment;
use serde_json::Value;

use crate::plan::environment::objects::Further;

use super::{budget::budget, compare, ingress::ingress, network_policy::policy};

/// An object as it reaches the apiserver, with the mark of how it was rendered; none for a route that the spec does not
/// have.
#[must_use]
pub fn rendered(environment: &Environment, object: Further) -> Option<Value> {
    match object {
        Further::Budget => compare::marked(&budget(environment)),
        Further::Policy(tier) => compare::marked(&policy(environment, tier)),
        Further::Route(side) => ingress(environment, side).as_ref().and_then(compare::marked),
    }
}
