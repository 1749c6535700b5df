//! The difference between the objects that would be applied and those that are there: pure, and drawn as lines.

use launchway_crds::names::{annotations, labels};
use serde_json::Value;

use crate::{
    render::{
        compare::{Difference, differences},
        whole::identity,
    },
    text::{clip, one_line},
};

/// Longest value that a line shows.
const VALUE_MAX: usize = 160;

/// What would change.
#[derive(Debug, Default)]
pub struct Changes {
    /// Objects that would be made.
    created: Vec<(String, String)>,
    /// Objects that would be changed, and how.
    changed: Vec<(String, String, Vec<Difference>)>,
    /// Objects that would be deleted.
    deleted: Vec<(String, String)>,
    /// StatefulSets whose pods would be replaced.
    replaced: Vec<String>,
}

impl Changes {
    /// Compares what would be applied with what is labelled as a part of the Environment.
    #[must_use]
    pub fn between(wanted: &[Value], found: &[Value]) -> Self {
        let mut all = Self::default();
        let owned = |(kind, name): (&str, &str)| (kind.to_string(), name.to_string());
        for object in wanted {
            let Some(same) = found.iter().find(|other| identity(other) == identity(object)) else {
                all.created.push(owned(identity(object)));
                continue;
            };
            // The hash only says that something else changed; where nothing did, it is another version's.
            let hash = format!("metadata.annotations.{}", annotations::RENDERED);
            let mut fields = differences(object, same);
            fields.retain(|difference| difference.path != hash);
            if fields.is_empty() {
                continue;
            }
            let (kind, name) = owned(identity(object));
            let revision = |object: &Value| object["metadata"]["labels"][labels::REVISION].clone();
            if kind == "StatefulSet" && revision(object) != revision(same) {
                all.replaced.push(name.clone());
            }
            all.changed.push((kind, name, fields));
        }
        let gone = found.iter().filter(|object| !wanted.iter().any(|other| identity(other) == identity(object)));
        all.deleted.extend(gone.map(|object| owned(identity(object))));
        all
    }

    /// Whether the cluster is as it would be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { created, changed, deleted, replaced: _ } = self;
        created.is_empty() && changed.is_empty() && deleted.is_empty()
    }
}

/// Lines: `+` for what would be made, `~` for what would be changed, `-` for what would be deleted.
#[must_use]
pub fn draw(changes: &Changes) -> Vec<String> {
    if changes.is_empty() {
        return vec!["nothing would change".into()];
    }
    let mut lines = vec![];
    lines.extend(changes.created.iter().map(|(kind, name)| format!("+ {kind} {name}")));
    for (kind, name, fields) in &changes.changed {
        lines.push(format!("~ {kind} {name}"));
        for field in fields {
            lines.push(format!("    {}", field.path));
            lines.extend(field.found.as_ref().map(|value| format!("      - {}", shown(value))));
            lines.extend(field.wanted.as_ref().map(|value| format!("      + {}", shown(value))));
        }
    }
    lines.extend(changes.deleted.iter().map(|(kind, name)| format!("- {kind} {name}")));
    lines.push(format!(
        "{} to create, {} to change, {} to delete{}",
        changes.created.len(),
        changes.changed.len(),
        changes.deleted.len(),
        match changes.replaced.as_slice() {
            [] => "; no pod would be replaced".to_string(),
            names => format!("; pods would be replaced: {}", names.join(", ")),
        }
    ));
    lines
}

fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
    clip(&one_line(&text), VALUE_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(name: &str, revision: &str, image: &str, replicas: i32) -> Value {
        json!({
            "kind": "StatefulSet",
            "metadata": { "name": name, "labels": { "launchway.dev/revision": revision },
                          "annotations": { "launchway.dev/rendered": revision } },
            "spec": { "replicas": replicas, "template": { "spec": { "containers": [{ "name": "main", "image": image }] } } },
        })
    }

    #[test]
    fn nothing_changes_where_everything_is_there() {
        let wanted = [set("prod-publish", "r1", "one", 2)];
        let changes = Changes::between(&wanted, &wanted);
        assert!(changes.is_empty());
        assert_eq!(draw(&changes), ["nothing would change"]);
    }

    #[test]
    fn a_difference_says_which_object_which_field_and_whether_pods_are_replaced() {
        let wanted = [
            set("prod-author", "r2", "two", 1),
            set("prod-publish", "r2", "two", 2),
            json!({
            "kind": "Service", "metadata": { "name": "prod-pair-0-r2" }, "spec": {} }),
        ];
        let found = [
            set("prod-publish", "r1", "one", 2),
            json!({
            "kind": "Service", "metadata": { "name": "prod-pair-0-r1" }, "spec": {} }),
        ];
        assert_eq!(
            draw(&Changes::between(&wanted, &found)).join("\n"),
            "\
+ StatefulSet prod-author
+ Service prod-pair-0-r2
~ StatefulSet prod-publish
    metadata.labels.launchway.dev/revision
      - r1
      + r2
    spec.template.spec.containers[name=main].image
      - one
      + two
- Service prod-pair-0-r1
2 to create, 1 to change, 1 to delete; pods would be replaced: prod-publish"
        );
        let scaled = Changes::between(&[set("p", "r", "i", 3)], &[set("p", "r", "i", 2)]);
        assert!(draw(&scaled).last().unwrap().ends_with("no pod would be replaced"));
    }
}
