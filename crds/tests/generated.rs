//! What is generated is current, and every schema holds the conventions.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf, process::Command};

use launchway_crds::{
    execution::STATUS_MAX,
    step::{METRICS_MAX, StepName},
};
use serde_json::Value;

/// With plain `kubectl apply` the whole object goes into an annotation of at most this size.
const FILE_MAX: usize = 256 * 1024;
/// What a name, a UID or a reason may have that the apiserver bounds.
const NAME_MAX: usize = 256;
/// What the operator keeps of a message.
const MESSAGE_MAX: usize = 1024;
/// The longest text that the operator writes into a status.
const STATUS_TEXT_MAX: usize = 1024;

/// Texts of status that are copies of what the apiserver bounds already: names, UIDs, kinds; and what the operator makes
/// of these. Anything else needs a `maxLength`.
const COPIES: &[&str] = &[
    "author",
    "dispatcher",
    "environment",
    "execution",
    "kind",
    "name",
    "production",
    "result",
    "selector",
    "specHash",
    "stage",
    "uid",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn crds() -> Vec<(String, Value)> {
    launchway_crds::all_crds()
        .iter()
        .map(|crd| (crd.spec.names.kind.clone(), serde_json::to_value(crd).unwrap()["spec"].take()))
        .collect()
}

fn schema(crd: &Value) -> &Value {
    &crd["versions"][0]["schema"]["openAPIV3Schema"]
}

/// Every schema inside a schema, with its path. Conditions are Kubernetes' own and are left out.
fn walk<'a>(schema: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
    found.push((path.to_string(), schema));
    if schema["properties"].get("lastTransitionTime").is_some() {
        return;
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        walk(field, &format!("{path}.{name}"), found);
    }
    for (part, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[part].is_object() {
            walk(&schema[part], &format!("{path}{mark}"), found);
        }
    }
}

fn everywhere(check: impl Fn(&str, &Value) -> Option<String>) {
    let mut broken = vec![];
    for (kind, crd) in crds() {
        let mut found = vec![];
        walk(schema(&crd), &kind, &mut found);
        assert!(found.len() > 20, "{kind}: its schema is not where this test looks");
        broken
            .extend(found.iter().filter_map(|(path, schema)| check(path, schema).map(|why| format!("{path}: {why}"))));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn crd_files_are_current_and_small() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("crds");
    fs::create_dir_all(&folder).unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_crdgen")).arg(&folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut names: Vec<_> =
        fs::read_dir(root().join("crds/yaml")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["environments.yaml", "pipelineexecutions.yaml", "pipelines.yaml"]);
    for name in names {
        let committed = fs::read_to_string(root().join("crds/yaml").join(&name)).unwrap();
        let current = fs::read_to_string(folder.join(&name)).unwrap();
        let name = name.to_string_lossy();
        assert!(
            committed == current,
            "crds/yaml/{name} is not current: cargo run -p launchway-crds --bin crdgen crds/yaml && config/generate.sh"
        );
        assert!(committed.len() < FILE_MAX, "{name} has {} bytes", committed.len());
    }
}

#[test]
fn the_api_reference_is_current() {
    let made = Command::new(env!("CARGO_BIN_EXE_apidoc")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let committed = fs::read_to_string(root().join("docs/api.md")).unwrap_or_default();
    assert!(
        committed == String::from_utf8(made.stdout).unwrap(),
        "docs/api.md is not current: cargo run -p launchway-crds --bin apidoc > docs/api.md"
    );
}

#[test]
fn lists_and_maps_are_bounded() {
    everywhere(|_, schema| {
        let (list, map) = (schema["type"] == "array", schema["additionalProperties"].is_object());
        if list && schema["maxItems"].is_null() {
            return Some("a list without maxItems".into());
        }
        (map && schema["maxProperties"].is_null()).then(|| "a map without maxProperties".into())
    });
}

#[test]
fn texts_are_bounded() {
    everywhere(|path, schema| {
        let bounded = ["maxLength", "enum", "format"].iter().any(|bound| !schema[*bound].is_null());
        let last = path.rsplit('.').next().unwrap_or_default();
        let copy = path.contains(".status.") && COPIES.contains(&last);
        (schema["type"] == "string" && !bounded && !copy).then(|| "a text without maxLength".into())
    });
}

#[test]
fn numbers_that_people_write_are_bounded() {
    everywhere(|path, schema| {
        let both = schema["minimum"].is_number() && schema["maximum"].is_number();
        (path.contains(".spec.") && schema["type"] == "integer" && !both).then(|| "a number without bounds".into())
    });
}

#[test]
fn lists_of_named_objects_are_maps() {
    everywhere(|_, schema| {
        let keys = schema["x-kubernetes-list-map-keys"].as_array().cloned().unwrap_or_default();
        let properties = &schema["items"]["properties"];
        if schema["x-kubernetes-list-type"] == "map" {
            let known = keys.iter().filter_map(Value::as_str).all(|key| properties.get(key).is_some());
            return (keys.is_empty() || !known).then(|| "a list-map whose keys are no fields".into());
        }
        let conditions = properties.get("lastTransitionTime").is_some();
        conditions.then(|| "conditions without list-map keys: appliers would overwrite each other's".into())
    });
    let keys = |kind: &str, field: &str| {
        let (_, crd) = crds().into_iter().find(|(name, _)| name == kind).unwrap();
        let (part, name) = field.split_once('.').unwrap();
        schema(&crd)["properties"][part]["properties"][name]["x-kubernetes-list-map-keys"].clone()
    };
    for kind in ["Environment", "Pipeline", "PipelineExecution"] {
        assert_eq!(keys(kind, "status.conditions"), serde_json::json!(["type"]), "{kind}");
    }
    assert_eq!(keys("Environment", "spec.variables"), serde_json::json!(["name"]));
    assert_eq!(keys("PipelineExecution", "status.steps"), serde_json::json!(["name"]));
}

/// As the API conventions of Kubernetes have it.
#[test]
fn names_of_fields_are_in_camel_case() {
    everywhere(|_, schema| {
        let camel = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
        };
        let mut names = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name);
        names.find(|name| !camel(name)).map(|name| format!("{name} is not in camelCase"))
    });
}

#[test]
fn everything_is_described_and_nothing_is_called_phase() {
    everywhere(|path, schema| {
        let element = path.ends_with("[]") || path.ends_with("{}");
        if !element && path.contains('.') && schema["description"].as_str().is_none_or(str::is_empty) {
            // The object itself is described by its kind.
            return Some("no description".into());
        }
        // `status.rollout.phase` is a text for people below a state that is the contract.
        let phase = path.ends_with(".phase") && !path.ends_with(".status.rollout.phase");
        phase.then(|| "a phase: say it with conditions".into())
    });
}

#[test]
fn rules_are_there_and_say_what_is_wrong() {
    let mut count = 0;
    for (kind, crd) in crds() {
        let mut found = vec![];
        walk(schema(&crd), &kind, &mut found);
        for (path, schema) in found {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                count += 1;
                let message = rule["message"].as_str().unwrap_or_default();
                assert!(message.len() > 20, "{path}: the rule {} has no message that helps", rule["rule"]);
            }
        }
    }
    assert!(count >= 8, "only {count} rules: some got lost");
    let immutable = |kind: &str, rule: &str| {
        let (_, crd) = crds().into_iter().find(|(name, _)| name == kind).unwrap();
        assert!(schema(&crd).to_string().contains(rule), "{kind}: `{rule}` got lost");
    };
    immutable("Environment", "self == oldSelf");
    immutable("Pipeline", "self == oldSelf");
    immutable("PipelineExecution", "self.spec == oldSelf.spec");
}

#[test]
fn status_is_a_subresource_that_says_which_generation_it_is_about() {
    for (kind, crd) in crds() {
        assert!(crd["versions"][0]["subresources"]["status"].is_object(), "{kind}");
        let observed = &schema(&crd)["properties"]["status"]["properties"]["observedGeneration"];
        assert_eq!(observed["default"], -1, "{kind}");
    }
    let (_, environment) = crds().remove(0);
    let scale = &environment["versions"][0]["subresources"]["scale"];
    assert_eq!(scale["specReplicasPath"], ".spec.publish.replicas");
    // Without these two no HorizontalPodAutoscaler finds the pods that it measures.
    assert_eq!(scale["statusReplicasPath"], ".status.replicas");
    assert_eq!(scale["labelSelectorPath"], ".status.selector");
}

/// The values of the text constants of a module.
fn constants<'a>(source: &'a str, module: &str) -> Vec<&'a str> {
    let (_, body) = source.split_once(&format!("pub mod {module} {{")).unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    body.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split('"').nth(1)).collect()
}

#[test]
fn every_condition_and_reason_is_explained() {
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let source = fs::read_to_string(root().join("crds/src/conditions.rs")).unwrap();
    for module in ["types", "reasons"] {
        let words = constants(&source, module);
        assert!(words.len() > 3, "{module}: the constants are not where this test looks");
        for word in words {
            assert!(page.contains(&format!("`{word}`")), "docs/operations.md does not say what `{word}` means");
        }
    }
    let codes = fs::read_to_string(root().join("operator/src/image/failure.rs")).unwrap();
    let (_, codes) = codes.split_once("\nreasons! {").unwrap();
    let (codes, _) = codes.split_once("\n}").unwrap();
    let codes = codes.lines().map(|line| line.trim().trim_end_matches(','));
    for code in codes.filter(|line| !line.is_empty() && !line.starts_with("//")) {
        assert!(page.contains(&format!("`{code}`")), "docs/operations.md does not have the code `{code}`");
    }
}

/// The largest value that a schema of status allows, of content that takes the most room as JSON: every list and every
/// text at its bound. What a person or an image wrote is all quotes, two bytes each: the operator cuts texts in bytes and
/// leaves out what would take more.
fn largest(schema: &Value, name: &str) -> Value {
    let number = |key: &str| schema[key].as_u64().map(|number| usize::try_from(number).unwrap());
    match schema["type"].as_str().unwrap_or_default() {
        "object" => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            fields.map(|(name, field)| (name.clone(), largest(field, name))).collect()
        }
        "array" => vec![largest(&schema["items"], name); number("maxItems").unwrap_or(1000).min(keys(schema))].into(),
        "string" => {
            let values = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            if let Some(longest) = values.max_by_key(|value| value.len()) {
                return longest.into();
            }
            if schema["format"].is_string() {
                return "2026-11-21T10:00:00.123456789Z".into();
            }
            let most = if name == "message" { MESSAGE_MAX } else { NAME_MAX };
            let plain = schema["pattern"].is_string() || COPIES.contains(&name);
            // Kubernetes bounds a condition's message by far more than the operator writes.
            let length = number("maxLength").unwrap_or(most).min(STATUS_TEXT_MAX);
            if plain { "x".repeat(length) } else { "\"".repeat(length) }.into()
        }
        "boolean" => false.into(),
        "integer" => i64::MIN.into(),
        other => panic!("{name} is of type `{other}`: how large is that?"),
    }
}

/// How many items a list can have that are told apart by one of a few words.
fn keys(schema: &Value) -> usize {
    let key = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .filter(|keys| keys.len() == 1)
        .and_then(|keys| keys[0].as_str());
    let words = key.and_then(|key| schema["items"]["properties"][key]["enum"].as_array());
    words.map_or(usize::MAX, Vec::len)
}

#[test]
fn the_record_of_an_execution_has_a_bound() {
    let (kind, execution) = crds().pop().unwrap();
    assert_eq!(kind, "PipelineExecution");
    let status = largest(&schema(&execution)["properties"]["status"], "status");
    let steps = status["steps"].as_array().unwrap();
    assert_eq!(steps.len(), StepName::ALL.len(), "every step");
    assert!(
        steps.iter().all(|step| step["metrics"].as_array().unwrap().len() == METRICS_MAX),
        "and all metrics of each"
    );
    assert_eq!(steps[0]["message"].as_str().unwrap().len(), MESSAGE_MAX);
    let size = serde_json::to_vec(&status).unwrap().len();
    println!("the largest status has {size} bytes");
    assert!(size <= STATUS_MAX, "status may grow to {size} bytes, more than {STATUS_MAX}");
    assert!(size * 2 > STATUS_MAX, "STATUS_MAX is said to be {STATUS_MAX}, and {size} bytes are the most");
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    assert!(page.contains(&format!("{} KiB", STATUS_MAX / 1024)), "docs/operations.md states another bound");
}
