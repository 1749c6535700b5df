//! Who owns the fields of an object, as `metadata.managedFields` has it.
//!
//! Server-side apply takes away what its manager applied before and does not apply any more, unless somebody else owns it,
//! too. A merge patch makes its sender an owner of another kind (`Update`), for ever: what the operator once patched would
//! outlive every later version of the object. So that ownership is folded into the one of applying, as kubectl does for
//! objects that it did not always apply.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use launchway_crds::names::FIELD_MANAGER;
use serde_json::Value;

const APPLY: &str = "Apply";
const UPDATE: &str = "Update";

/// The entries of an object once everything that the operator owns of it is owned by applying; none if it is so already.
#[must_use]
pub fn folded(entries: &[ManagedFieldsEntry]) -> Option<Vec<ManagedFieldsEntry>> {
    let (patched, mut all): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(|entry| is_ours(entry, UPDATE));
    if patched.is_empty() {
        return None;
    }
    for mut entry in patched {
        // Paths mean something within their version alone.
        let same = |other: &&mut ManagedFieldsEntry| is_ours(other, APPLY) && other.api_version == entry.api_version;
        match all.iter_mut().find(same) {
            Some(applied) => {
                let more = entry.fields_v1.take().map(|fields| fields.0).unwrap_or_default();
                unite(&mut applied.fields_v1.get_or_insert_with(|| FieldsV1(Value::default())).0, more);
            }
            None => all.push(ManagedFieldsEntry { operation: Some(APPLY.into()), ..entry }),
        }
    }
    Some(all)
}

/// Whether the operator owns the fields of an entry, in this way. Status and scale are other resources, and stay.
fn is_ours(entry: &ManagedFieldsEntry, operation: &str) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER)
        && entry.operation.as_deref() == Some(operation)
        && entry.subresource.as_deref().is_none_or(str::is_empty)
}

/// Adds the fields of one set to another: both are trees whose leaves are empty.
fn unite(set: &mut Value, more: Value) {
    match (set, more) {
        (Value::Object(set), Value::Object(more)) => {
            for (field, below) in more {
                unite(set.entry(field).or_insert_with(|| Value::Object(serde_json::Map::new())), below);
            }
        }
        (set, more) if set.is_null() => *set = more,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({ "manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields })
    }

    fn after(entries: &[Value]) -> Option<Value> {
        let entries: Vec<ManagedFieldsEntry> = serde_json::from_value(json!(entries)).unwrap();
        folded(&entries).map(|entries| serde_json::to_value(entries).unwrap())
    }

    fn port(number: u16, fields: &Value) -> Value {
        json!({ "f:spec": { "f:ports": { format!("k:{{\"port\":{number}}}"): fields } } })
    }

    #[test]
    fn what_was_patched_is_owned_by_applying_and_what_others_own_stays() {
        let somebody = entry("somebody", UPDATE, &port(82, &json!({ ".": {} })));
        let applied = entry(FIELD_MANAGER, APPLY, &port(80, &json!({ ".": {}, "f:name": {} })));
        let patched = entry(FIELD_MANAGER, UPDATE, &port(81, &json!({ ".": {} })));
        let both = json!({ "f:spec": { "f:ports": {
            "k:{\"port\":80}": { ".": {}, "f:name": {} }, "k:{\"port\":81}": { ".": {} },
        } } });
        assert_eq!(
            after(&[somebody.clone(), applied.clone(), patched.clone()]).unwrap(),
            json!([somebody, entry(FIELD_MANAGER, APPLY, &both)])
        );
        assert_eq!(after(&[somebody.clone(), applied]), None, "there is nothing to fold");
        assert_eq!(
            after(&[somebody.clone(), patched]).unwrap(),
            json!([somebody, entry(FIELD_MANAGER, APPLY, &port(81, &json!({ ".": {} })))]),
            "nothing was ever applied"
        );
    }

    #[test]
    fn another_version_and_another_resource_are_left_apart() {
        let applied = entry(FIELD_MANAGER, APPLY, &port(80, &json!({})));
        let mut older = entry(FIELD_MANAGER, UPDATE, &port(81, &json!({})));
        older["apiVersion"] = json!("v1beta1");
        let mut status = entry(FIELD_MANAGER, UPDATE, &json!({ "f:status": {} }));
        status["subresource"] = json!("status");
        assert_eq!(after(&[applied.clone(), status.clone()]), None);
        let mut folded = older.clone();
        folded["operation"] = json!(APPLY);
        assert_eq!(after(&[applied.clone(), older, status.clone()]).unwrap(), json!([applied, status, folded]));
    }
}
