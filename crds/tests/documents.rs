//! The YAML that documents show is what the API takes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use launchway_crds::{Environment, Pipeline, PipelineExecution};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Schemas by kind.
fn schemas() -> BTreeMap<String, Value> {
    let schema =
        |crd: &_| serde_json::to_value(crd).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
    launchway_crds::all_crds().iter().map(|crd| (crd.spec.names.kind.clone(), schema(crd))).collect()
}

/// Pages that users read, in the repository.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut all: Vec<_> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "charts/launchway/README.md", "config/README.md"]
            .map(|page| root.join(page))
            .into();
    for folder in ["docs", "docs/decisions"] {
        all.extend(fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    all.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    all
}

/// The YAML documents of a page, each with the line on which its block begins.
fn documents(page: &str) -> Vec<(usize, Value)> {
    let mut found = vec![];
    let mut block: Option<(usize, String)> = None;
    for (at, line) in page.lines().enumerate() {
        match &mut block {
            None if line.trim() == "```yaml" => block = Some((at + 1, String::new())),
            Some((begun, text)) if line.trim() == "```" => {
                for document in serde_yaml::Deserializer::from_str(text) {
                    let value = Value::deserialize(document).unwrap_or_else(|error| panic!("line {begun}: {error}"));
                    found.push((*begun, value));
                }
                block = None;
            }
            Some((_, text)) => text.extend([line, "\n"]),
            None => {}
        }
    }
    found
}

/// What of a value the schema does not take. A part of an object may lack what is required.
fn faults(value: &Value, schema: &Value, whole: bool, path: &str, found: &mut Vec<String>) {
    let type_ = schema["type"].as_str().unwrap_or("any");
    match (value, type_) {
        (Value::Object(fields), "object") => {
            for (name, field) in fields {
                let known = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
                match known {
                    Some(known) => faults(field, known, whole, &format!("{path}.{name}"), found),
                    // Kubernetes' own: the schema of a kind does not have them.
                    None if path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) => {}
                    None => found.push(format!("{path}.{name}: there is no such field")),
                }
            }
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing = required.filter(|name| whole && !fields.contains_key(*name));
            found.extend(missing.map(|name| format!("{path}.{name}: is required")));
        }
        (Value::Array(items), "array") => {
            for (at, item) in items.iter().enumerate() {
                faults(item, &schema["items"], whole, &format!("{path}[{at}]"), found);
            }
        }
        (Value::String(_), "string" | "any")
        | (Value::Bool(_), "boolean" | "any")
        | (Value::Number(_), "integer" | "number" | "any") => {}
        _ => found.push(format!("{path}: {value} is not of type {type_}")),
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        found.push(format!("{path}: {value} is none of {allowed:?}"));
    }
}

/// What is wrong with a document of ours, and of which kind it is; none if it is none of ours. One without a kind shows a part
/// of a Pipeline, one without `spec` too, from below `spec`.
fn judged(document: &Value, schemas: &BTreeMap<String, Value>) -> Option<(String, Vec<String>)> {
    let version = document.get("apiVersion").and_then(Value::as_str);
    if version.is_some_and(|version| !version.starts_with("launchway.dev/")) {
        return None;
    }
    let kind = document.get("kind").and_then(Value::as_str).unwrap_or("Pipeline");
    let Some(schema) = schemas.get(kind) else { return Some((kind.into(), vec!["there is no such kind".into()])) };
    let shown = if document.get("spec").is_some() { document.clone() } else { json!({ "spec": document }) };
    let mut found = vec![];
    faults(&shown, schema, version.is_some(), "", &mut found);
    if version.is_some() {
        let parsed = match kind {
            "Environment" => Environment::deserialize(document).map(drop),
            "Pipeline" => Pipeline::deserialize(document).map(drop),
            _ => PipelineExecution::deserialize(document).map(drop),
        };
        found.extend(parsed.err().map(|error| error.to_string()));
    }
    Some((kind.into(), found))
}

/// Fields that a text names in backticks from `spec` or `status` on, such as `spec.variables[].secretKeyRef`.
fn fields(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2).map(|quoted| {
        let ends = |c: char| !(c.is_ascii_alphanumeric() || "._[]".contains(c));
        quoted.split(ends).next().unwrap_or_default().trim_end_matches('.')
    });
    quoted.filter(|field| ["spec.", "status."].iter().any(|root| field.starts_with(root)))
}

/// Whether a schema has a field.
fn has(schema: &Value, path: &str) -> bool {
    let mut names = path.split('.').map(|name| name.split('[').next().unwrap_or_default());
    let below = |schema: &'_ Value, name: &str| -> Option<Value> {
        let mut schema = schema;
        while schema["type"] == "array" {
            schema = &schema["items"];
        }
        schema["properties"].get(name).or_else(|| schema.get("additionalProperties")).cloned()
    };
    names.try_fold(schema.clone(), |schema, name| below(&schema, name)).is_some()
}

#[test]
fn every_field_that_a_document_names_exists() {
    let schemas = schemas();
    let mut named = 0;
    for page in pages() {
        for line in fs::read_to_string(&page).unwrap().lines() {
            // `status.rs` is a file.
            for field in fields(line).filter(|field| *field != "status.rs") {
                named += 1;
                assert!(schemas.values().any(|schema| has(schema, field)), "{}: `{field}` in: {line}", page.display());
            }
        }
    }
    assert!(named > 100, "only {named} fields were found: they are written in another way now");
    assert_eq!(fields("`spec.a[].b` is `x`, `status.c: d`").collect::<Vec<_>>(), ["spec.a[].b", "status.c"]);
    assert!(!schemas.values().any(|schema| has(schema, "spec.nothing")));
}

#[test]
fn what_documents_show_is_what_the_api_takes() {
    let schemas = schemas();
    let mut shown = BTreeSet::new();
    for page in pages() {
        for (line, document) in documents(&fs::read_to_string(&page).unwrap()) {
            let Some((kind, faults)) = judged(&document, &schemas) else { continue };
            assert!(faults.is_empty(), "{}, line {line}: {}", page.display(), faults.join("; "));
            shown.insert(kind);
        }
    }
    assert_eq!(shown, schemas.into_keys().collect(), "every kind is shown somewhere");
}

#[test]
fn a_document_that_the_api_refuses_is_found() {
    let schemas = schemas();
    let told = |document: Value| judged(&document, &schemas).unwrap().1.join("; ");
    let environment = |spec: Value| {
        let mut object = Map::from_iter([("apiVersion".into(), json!("launchway.dev/v1alpha1"))]);
        let metadata = json!({ "name": "stage" });
        object.extend([("kind".into(), json!("Environment")), ("metadata".into(), metadata), ("spec".into(), spec)]);
        Value::Object(object)
    };
    assert_eq!(told(environment(json!({ "type": "Stage" }))), "");
    assert!(told(environment(json!({ "type": "Stage", "pairs": 2 }))).contains(".spec.pairs: there is no such field"));
    assert!(told(environment(json!({}))).contains(".spec.type: is required"));
    assert!(told(environment(json!({ "type": "Test" }))).contains("is none of"));
    assert!(told(json!({ "gates": { "importantFailures": "Ignore" } })).contains(".spec.gates.importantFailures"));
    assert!(
        told(json!({ "kind": "Environment", "spec": { "publish": { "replicas": "2" } } })).contains("of type integer")
    );
    assert!(judged(&json!({ "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler" }), &schemas).is_none());
    assert_eq!(documents("x\n```yaml\na: 1\n---\nb: 2\n```\n").len(), 2);
}
