//! How an object in the cluster differs from the one that was rendered.
//!
//! Only what is rendered is compared: the apiserver fills in defaults, and others may add labels and annotations. Who
//! added something is in `metadata.managedFields`.

use std::collections::BTreeSet;

use launchway_crds::names::{FIELD_MANAGER, annotations, short_hash};
use serde::Serialize;
use serde_json::Value;

/// Fields that a StatefulSet is given step by step: they are the planner's, and no part of how it is rendered.
const NUMBERS: [&str; 2] = ["/spec/replicas", "/spec/updateStrategy/rollingUpdate/partition"];
/// Differences of one object that are told: a message is bounded.
const MOST: usize = 16;
/// Longest value that a difference shows.
const VALUE_MAX: usize = 60;

/// An object with a hash of itself as annotation; none if it cannot be written, which no object of ours comes to.
#[must_use]
pub fn marked(object: &impl Serialize) -> Option<Value> {
    let mut object = serde_json::to_value(object).ok()?;
    let mut hashed = object.clone();
    for pointer in NUMBERS {
        if let Some(number) = hashed.pointer_mut(pointer) {
            *number = Value::Null;
        }
    }
    let hash = short_hash(hashed.to_string().as_bytes());
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let all = metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
    all.as_object_mut()?.insert(annotations::RENDERED.into(), Value::String(hash));
    Some(object)
}

/// The hash of how an object was rendered.
#[must_use]
pub fn mark(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][annotations::RENDERED].as_str()
}

/// One difference: where, and the two values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path of the field, as in `spec.template.spec.containers[name=main].image`.
    pub path: String,
    /// What was rendered.
    pub wanted: Option<Value>,
    /// What is there.
    pub found: Option<Value>,
}

impl Difference {
    /// In words: where, what is there, what should be.
    #[must_use]
    pub fn told(&self) -> String {
        let short = |value: &Option<Value>| match value {
            None => "missing".to_string(),
            Some(Value::String(text)) => launchway_crds::conditions::truncate(text, VALUE_MAX),
            Some(other) => launchway_crds::conditions::truncate(&other.to_string(), VALUE_MAX),
        };
        format!("{} is {}, should be {}", self.path, short(&self.found), short(&self.wanted))
    }
}

/// Every rendered field, numbers of pods aside, that the object in the cluster has otherwise.
#[must_use]
pub fn edited(wanted: &Value, found: &Value) -> Vec<Difference> {
    let mut all = differences(wanted, found);
    let numbers: Vec<String> = NUMBERS.iter().map(|pointer| pointer[1..].replace('/', ".")).collect();
    all.retain(|difference| !numbers.contains(&difference.path));
    all.truncate(MOST);
    all
}

/// Every rendered field that the object in the cluster has otherwise.
#[must_use]
pub fn differences(wanted: &Value, found: &Value) -> Vec<Difference> {
    let mut all = vec![];
    for part in ["metadata", "spec"] {
        walk(part, wanted.get(part), found.get(part), &mut all);
    }
    all
}

/// Whether a rendered value says nothing: the apiserver leaves it out, or keeps it, as it likes.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn walk(path: &str, wanted: Option<&Value>, found: Option<&Value>, all: &mut Vec<Difference>) {
    let Some(wanted) = wanted.filter(|wanted| !is_nothing(wanted)) else { return };
    match (wanted, found) {
        (Value::Object(one), Some(Value::Object(other))) => {
            for (key, value) in one {
                walk(&format!("{path}.{key}"), Some(value), other.get(key), all);
            }
        }
        (Value::Array(one), Some(Value::Array(other))) if one.iter().all(|item| key(item).is_some()) => {
            for item in one {
                let same = other.iter().find(|candidate| key(candidate) == key(item));
                let (field, value) = key(item).unwrap_or_default();
                walk(&format!("{path}[{field}={value}]"), Some(item), same, all);
            }
        }
        (Value::Array(one), Some(Value::Array(other))) if one.len() == other.len() => {
            for (at, (item, same)) in one.iter().zip(other).enumerate() {
                walk(&format!("{path}[{at}]"), Some(item), Some(same), all);
            }
        }
        (wanted, Some(found)) if same(wanted, found) => {}
        (wanted, found) => {
            all.push(Difference { path: path.into(), wanted: Some(wanted.clone()), found: found.cloned() });
        }
    }
}

/// The field that tells items of a list apart, as in lists of containers, variables, volumes and ports.
fn key(item: &Value) -> Option<(&'static str, &str)> {
    ["mountPath", "name", "uid"].into_iter().find_map(|field| Some((field, item.get(field)?.as_str()?)))
}

fn same(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::String(one), Value::String(other)) => {
            one == other || quantity(one).is_some_and(|one| Some(one) == quantity(other))
        }
        (one, other) => one == other,
    }
}

/// An amount in billionths, which is never negative: the apiserver writes `1000m` as `1` and `1024Mi` as `1Gi`.
fn quantity(text: &str) -> Option<i128> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit: i128 = match unit {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => 1_000_000_000,
        "k" => 1_000_000_000_000,
        "M" => 1_000_000_000_000_000,
        "G" => 1_000_000_000_000_000_000,
        "T" => 1_000_000_000_000_000_000_000,
        "Ki" => 1_000_000_000 << 10,
        "Mi" => 1_000_000_000 << 20,
        "Gi" => 1_000_000_000 << 30,
        "Ti" => 1_000_000_000 << 40,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let places = u32::try_from(part.len()).ok().filter(|places| *places <= 9)?;
    let scale = 10_i128.checked_pow(places)?;
    let digits: i128 = format!("{whole}{part}").parse().ok()?;
    digits.checked_mul(unit)?.checked_div(scale)
}

/// Fields of the spec that somebody else than the operator set besides its own, by path.
#[must_use]
pub fn added(found: &Value) -> Vec<String> {
    let (mut own, mut others) = (BTreeSet::new(), BTreeSet::new());
    for entry in found["metadata"]["managedFields"].as_array().into_iter().flatten() {
        // Whole-object writes alone: status and scale are written by controllers, and the planner minds numbers.
        if entry["subresource"].as_str().is_some_and(|part| !part.is_empty()) {
            continue;
        }
        let ours = entry["manager"] == FIELD_MANAGER;
        leaves("spec", &entry["fieldsV1"]["f:spec"], if ours { &mut own } else { &mut others });
    }
    others.difference(&own).take(MOST).cloned().collect()
}

/// Paths of the fields of a set of `fieldsV1` that have none below them.
fn leaves(path: &str, set: &Value, all: &mut BTreeSet<String>) {
    let Some(fields) = set.as_object() else { return };
    let below: Vec<_> = fields.iter().filter(|(name, _)| *name != ".").collect();
    if below.is_empty() {
        all.insert(path.to_string());
    }
    for (name, set) in below {
        let step = match name.split_once(':') {
            Some(("f", field)) => format!(".{field}"),
            Some(("k", keys)) => format!("[{}]", keys_of(keys)),
            Some((_, value)) => format!("[{value}]"),
            None => continue,
        };
        leaves(&format!("{path}{step}"), set, all);
    }
}

/// `{"name":"main"}` as `name=main`.
fn keys_of(keys: &str) -> String {
    let parsed: serde_json::Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
    parsed.iter().map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(wanted: &Value, found: &Value) -> Vec<String> {
        differences(wanted, found).into_iter().map(|difference| difference.path).collect()
    }

    #[test]
    fn what_was_not_rendered_is_not_compared() {
        let wanted = json!({ "metadata": { "labels": { "a": "1" } }, "spec": { "type": "x", "list": [], "map": {} } });
        let found = json!({
            "metadata": { "labels": { "a": "1", "b": "2" }, "uid": "u" },
            "spec": { "type": "x", "default": true }, "status": { "ready": 1 },
        });
        assert_eq!(paths(&wanted, &found), Vec::<String>::new());
    }

    #[test]
    fn items_are_told_apart_by_name_and_the_place_of_a_difference_is_named() {
        let container = |image: &str| json!({ "name": "main", "image": image, "command": ["a", "b"] });
        let wanted = json!({ "spec": { "containers": [container("one")], "env": [{ "name": "A", "value": "1" }] } });
        let found = json!({ "spec": { "containers": [{ "name": "other" }, container("two")], "env": [] } });
        assert_eq!(paths(&wanted, &found), ["spec.containers[name=main].image", "spec.env[name=A]"]);
        let other = json!({ "spec": { "containers": [{ "name": "main", "image": "one", "command": ["a"] }] } });
        assert!(paths(&wanted, &other).contains(&"spec.containers[name=main].command".to_string()));
        let difference = &differences(&wanted, &found)[0];
        assert_eq!(difference.told(), "spec.containers[name=main].image is two, should be one");
    }

    #[test]
    fn one_quantity_may_be_written_in_two_ways() {
        for (one, other) in [("1000m", "1"), ("1024Mi", "1Gi"), ("0.5", "500m"), ("1.5Gi", "1536Mi"), ("2", "2000000u")]
        {
            assert!(same(&json!(one), &json!(other)), "{one} {other}");
        }
        for (one, other) in [("1", "2"), ("1Gi", "1G"), ("main", "other"), ("", "0"), ("1.x", "1"), ("e", "é")] {
            assert!(!same(&json!(one), &json!(other)), "{one} {other}");
        }
    }

    #[test]
    fn numbers_of_pods_are_no_part_of_how_a_workload_is_rendered() {
        let set = |replicas: i32, image: &str| {
            json!({ "metadata": { "name": "x" }, "spec": { "replicas": replicas, "image": image,
                "updateStrategy": { "rollingUpdate": { "partition": replicas } } } })
        };
        let (one, more) = (marked(&set(1, "a")).unwrap(), marked(&set(2, "a")).unwrap());
        assert_eq!(mark(&one), mark(&more));
        assert!(edited(&one, &more).is_empty());
        assert_eq!(differences(&one, &more).len(), 2);
        assert_ne!(mark(&one), mark(&marked(&set(1, "b")).unwrap()));
    }

    #[test]
    fn what_others_added_is_known_by_who_manages_it() {
        let found = json!({ "metadata": { "managedFields": [
            { "manager": "launchway", "operation": "Apply", "fieldsV1": { "f:spec": { "f:replicas": {} } } },
            { "manager": "kubectl-edit", "operation": "Update", "fieldsV1": {
                "f:metadata": { "f:labels": { "f:x": {} } },
                "f:spec": { "f:replicas": {}, "f:template": { "f:spec": {
                    "f:containers": { "k:{\"name\":\"main\"}": { "f:env": { ".": {}, "k:{\"name\":\"X\"}": { ".": {}, "f:name": {}, "f:value": {} } } } },
                    "f:nodeSelector": {},
                } } },
            } },
            { "manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": { "f:spec": { "f:odd": {} } } },
        ] } });
        assert_eq!(
            added(&found),
            [
                "spec.template.spec.containers[name=main].env[name=X].name",
                "spec.template.spec.containers[name=main].env[name=X].value",
                "spec.template.spec.nodeSelector"
            ]
        );
    }
}
