//! Writes the API reference from the schemas of the CustomResourceDefinitions, as Markdown to standard output.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    process::ExitCode,
};

use launchway_crds::{
    common::Span,
    digest::{ImageRef, Sha256Digest},
};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

const HEAD: &str = "\
# API reference

Generated from `crds/src` by `cargo run -p launchway-crds --bin apidoc > docs/api.md`; the test `crds/tests/generated.rs`
fails when this page is not current. `kubectl explain` shows the same.

All kinds are of `launchway.dev/v1alpha1` and live in a namespace: a namespace is a program. In field names, `[]` stands for
each element of a list. \"required\" means that the field must be there if the object around it is. Lengths count
characters. Types beyond those of JSON:

| type | is |
| --- | --- |
| digest | `sha256:` and 64 lower-case hexadecimal digits |
| image | an image or artifact by content: `REGISTRY/REPOSITORY@DIGEST`; a tag is refused |
| span | hours, minutes and seconds in this order: `90s`, `15m`, `1h30m`; at most 9999 hours |
| time | RFC 3339, UTC, whole seconds: `2026-11-21T10:34:05Z` |
| quantity | an amount as in Kubernetes: `500m`, `2Gi` |
| condition | `meta/v1`: type, status, reason, message, lastTransitionTime, observedGeneration |
";

fn main() -> ExitCode {
    let mut page = HEAD.to_string();
    for crd in launchway_crds::all_crds() {
        let written = serde_json::to_value(&crd).map_err(|error| error.to_string());
        let written = written.and_then(|crd| kind(&mut page, &crd).map_err(|error| error.to_string()));
        if let Err(error) = written {
            eprintln!("apidoc: {}: {error}", crd.spec.names.kind);
            return ExitCode::FAILURE;
        }
    }
    match io::stdout().write_all(page.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("apidoc: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The chapter of a kind.
fn kind(page: &mut String, crd: &Value) -> fmt::Result {
    let (names, version) = (&crd["spec"]["names"], &crd["spec"]["versions"][0]);
    let schema = &version["schema"]["openAPIV3Schema"];
    writeln!(page, "\n## {}\n\n{}\n", text(&names["kind"]), prose(schema))?;
    writeln!(page, "- Resource: `{}`, short `{}`", text(&names["plural"]), text(&names["shortNames"][0]))?;
    let columns = list(&version["additionalPrinterColumns"]).iter().map(|column| {
        let wide = if column["priority"].as_i64() == Some(1) { " (wide)" } else { "" };
        format!("{}{wide}", text(&column["name"]))
    });
    writeln!(page, "- Printed columns: {}", columns.collect::<Vec<_>>().join(", "))?;
    let selectable = list(&version["selectableFields"]).iter().map(|field| code(text(&field["jsonPath"])));
    writeln!(page, "- Field selectors: {}", selectable.collect::<Vec<_>>().join(", "))?;
    if let Some(path) = version["subresources"]["scale"]["specReplicasPath"].as_str() {
        writeln!(page, "- Subresources: `status`, `scale` (drives `{path}`)")?;
    } else {
        writeln!(page, "- Subresources: `status`")?;
    }
    let mut found = vec![];
    rules(schema, "", &mut found);
    if !found.is_empty() {
        writeln!(page, "\n| what the apiserver checks | rule (CEL) |\n| --- | --- |")?;
        for (path, rule) in found {
            let place = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
            writeln!(page, "| {place}{} | {} |", cell(text(&rule["message"])), code(text(&rule["rule"])))?;
        }
    }
    for part in ["spec", "status"] {
        let schema = &schema["properties"][part];
        writeln!(page, "\n### {} {part}\n\n{}\n", text(&names["kind"]), prose(schema))?;
        writeln!(page, "| field | type | default | bounds | meaning |\n| --- | --- | --- | --- | --- |")?;
        fields(page, schema, part)?;
    }
    Ok(())
}

/// A row for each field of an object, and for those of the objects inside.
fn fields(page: &mut String, schema: &Value, path: &str) -> fmt::Result {
    let empty = Map::new();
    for (name, field) in schema["properties"].as_object().unwrap_or(&empty) {
        let path = format!("{path}.{name}");
        let needed = list(&schema["required"]).iter().any(|required| required == name);
        let row = [code(&path), type_of(field), default_of(field, needed), bounds(field).join("; "), prose(field)];
        writeln!(page, "| {} |", row.map(|text| cell(&text)).join(" | "))?;
        if is_conditions(field) {
            continue;
        }
        fields(page, field, &path)?;
        fields(page, &field["items"], &format!("{path}[]"))?;
    }
    Ok(())
}

/// Lists of `meta/v1` conditions are the same everywhere.
fn is_conditions(field: &Value) -> bool {
    field["items"]["properties"].get("lastTransitionTime").is_some()
}

fn type_of(field: &Value) -> String {
    if field["x-kubernetes-int-or-string"] == true {
        return "quantity".into();
    }
    if let Some(name) = known(field) {
        return name.into();
    }
    match (text(&field["type"]), text(&field["format"])) {
        ("array", _) if is_conditions(field) => "list of conditions".into(),
        ("array", _) => format!("list of {}s", type_of(&field["items"])),
        ("object", _) if field["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&field["additionalProperties"]))
        }
        ("string", "date-time") => "time".into(),
        (other, _) => other.into(),
    }
}

/// Our own types, told by their pattern.
fn known(field: &Value) -> Option<&'static str> {
    let pattern = field["pattern"].as_str()?;
    let of = |schema: schemars::Schema| schema.as_value()["pattern"].as_str().map(str::to_string);
    let mut generator = SchemaGenerator::default();
    let types = [
        ("digest", Sha256Digest::json_schema(&mut generator)),
        ("image", ImageRef::json_schema(&mut generator)),
        ("span", Span::json_schema(&mut generator)),
    ];
    types.into_iter().find(|(_, schema)| of(schema.clone()).as_deref() == Some(pattern)).map(|(name, _)| name)
}

fn default_of(field: &Value, needed: bool) -> String {
    match &field["default"] {
        Value::Null if needed => "required".into(),
        Value::Null => String::new(),
        // Those of an object are told with its fields.
        Value::Object(_) => String::new(),
        Value::Array(all) if all.is_empty() => "empty".into(),
        Value::String(text) => code(text),
        other => code(&other.to_string()),
    }
}

fn bounds(field: &Value) -> Vec<String> {
    let mut all = vec![];
    if known(field).is_some() {
        return all;
    }
    let number = |key: &str| field[key].as_f64().map(|number| format!("{number}"));
    match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => all.push(format!("{least} to {most}")),
        (Some(least), None) => all.push(format!("at least {least}")),
        (None, Some(most)) => all.push(format!("at most {most}")),
        (None, None) => {}
    }
    for (least, most, unit) in [
        ("minLength", "maxLength", "characters"),
        ("minItems", "maxItems", "elements"),
        ("minProperties", "maxProperties", "entries"),
    ] {
        match (number(least).filter(|least| least != "0"), number(most)) {
            (Some(least), Some(most)) => all.push(format!("{least} to {most} {unit}")),
            (Some(least), None) => all.push(format!("at least {least} {unit}")),
            (None, Some(most)) => all.push(format!("at most {most} {unit}")),
            (None, None) => {}
        }
    }
    if let Some(pattern) = field["pattern"].as_str() {
        all.push(code(pattern));
    }
    let values: Vec<String> = list(&field["enum"]).iter().filter_map(Value::as_str).map(code).collect();
    if !values.is_empty() {
        all.push(values.join(", "));
    }
    if let Some(key) = field["x-kubernetes-list-map-keys"][0].as_str() {
        all.push(format!("one for each `{key}`"));
    }
    if field["items"]["properties"].is_null() && field["items"].is_object() {
        all.extend(bounds(&field["items"]).into_iter().map(|bound| format!("each: {bound}")));
    }
    if field["additionalProperties"].is_object() {
        all.extend(bounds(&field["additionalProperties"]).into_iter().map(|bound| format!("each: {bound}")));
    }
    all
}

/// CEL rules with the place where they are.
fn rules<'a>(schema: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
    found.extend(list(&schema["x-kubernetes-validations"]).iter().map(|rule| (path.to_string(), rule)));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        rules(field, &inner, found);
        rules(&field["items"], &format!("{inner}[]"), found);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A description in one line.
fn prose(schema: &Value) -> String {
    text(&schema["description"]).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A text inside a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
