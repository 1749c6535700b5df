//! Objects in the cluster beside what they should be: which are out of date, and which somebody changed by hand.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Service};
use launchway_crds::{Environment, environment::Tier, names::labels};
use serde::Serialize;
use serde_json::Value;

use crate::plan::environment::{
    ServiceName,
    objects::{Cause, Deviation, Further, Object},
};

use super::{
    compare::{added, edited, mark, marked},
    further,
    kept::Source,
    service,
};

/// What is wrong with the StatefulSet of a tier. One of another revision, or rendered by another version of the operator,
/// is not compared: it is made anew when the rollout comes to it.
#[must_use]
pub fn of_workload(source: &Source<'_>, tier: Tier, found: &StatefulSet) -> Vec<Deviation> {
    let revision = found.metadata.labels.as_ref().and_then(|all| all.get(labels::REVISION));
    if revision.map(String::as_str) != Some(source.release.revisions.of(tier)) {
        return vec![];
    }
    let wanted = source.workload(tier, 0, 0).as_ref().and_then(marked);
    let (Some(wanted), Some(found)) = (wanted, value(found)) else { return vec![] };
    if mark(&wanted) != mark(&found) {
        return vec![];
    }
    let fields: Vec<String> = edited(&wanted, &found).iter().map(super::compare::Difference::told).collect();
    let object = Object::Workload(tier);
    // A field that is put back becomes the operator's again.
    if !fields.is_empty() {
        return vec![Deviation { object, cause: Cause::Edited(fields) }];
    }
    let others = added(&found);
    if others.is_empty() { vec![] } else { vec![Deviation { object, cause: Cause::NotOurs(others) }] }
}

/// What is wrong with a Service.
#[must_use]
pub fn of_service(environment: &Environment, name: &ServiceName, revision: &str, found: &Service) -> Option<Deviation> {
    compared(Object::Service(name.clone()), marked(&service::service(environment, name, revision)), value(found))
}

/// What is wrong with a further object; nothing, if the Environment is not to have it.
#[must_use]
pub fn of_further(environment: &Environment, object: Further, found: &impl Serialize) -> Option<Deviation> {
    compared(Object::Further(object), further::rendered(environment, object), value(found))
}

fn compared(object: Object, wanted: Option<Value>, found: Option<Value>) -> Option<Deviation> {
    let (wanted, found) = (wanted?, found?);
    if mark(&wanted) != mark(&found) {
        return Some(Deviation { object, cause: Cause::Outdated });
    }
    let fields: Vec<String> = edited(&wanted, &found).iter().map(super::compare::Difference::told).collect();
    (!fields.is_empty()).then_some(Deviation { object, cause: Cause::Edited(fields) })
}

fn value(found: &impl Serialize) -> Option<Value> {
    serde_json::to_value(found).ok()
}
