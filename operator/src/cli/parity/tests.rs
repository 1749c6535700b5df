use serde_json::{Value, json};

use super::{report::LINES_MAX, *};

fn environment(name: &str, type_: &str, spec: &Value) -> Environment {
    let mut whole = json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment", "metadata": { "name": name },
        "spec": { "type": type_ },
    });
    for (key, value) in spec.as_object().unwrap() {
        whole["spec"][key] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

#[test]
fn twins_differ_in_their_strategy_alone() {
    let (stage, production) =
        (environment("stage", "Stage", &json!({})), environment("prod", "Production", &json!({})));
    assert_eq!(differences(&stage, &production), ["strategy: stage AllAtOnce, prod Rolling"]);
}

#[test]
fn an_approver_sees_what_the_tests_could_not_and_no_value_of_a_variable() {
    let stage = environment(
        "stage",
        "Stage",
        &json!({
            "rollout": { "strategy": "Rolling" },
            "variables": [{ "name": "KEY", "value": "stage-key" }, { "name": "DEBUG", "value": "1" }],
            "publish": { "resources": { "limits": { "memory": "1Gi" } } },
        }),
    );
    let production = environment(
        "prod",
        "Production",
        &json!({
            "variables": [{ "name": "KEY", "value": "prod-key" }, { "name": "CDN", "value": "https://cdn" }],
            "publish": { "replicas": 4, "resources": { "limits": { "memory": "4Gi", "cpu": "2" } } },
            "author": { "storage": { "size": "10Gi" } },
        }),
    );
    let told = differences(&stage, &production);
    assert_eq!(
        told,
        [
            "variables on stage only: DEBUG",
            "variables on prod only: CDN",
            "variables of other value or service: KEY",
            "pairs: stage 1, prod 4",
            "publish limits: stage memory=1Gi, prod cpu=2 memory=4Gi",
            "author's volume: stage none, prod 10Gi",
        ]
    );
}

/// What of a spec is compared: the path of a field, and another value of it than [`everything`] has.
fn compared() -> Vec<(&'static str, Value)> {
    let image = format!("registry.example.com/base@sha256:{}", "2".repeat(64));
    vec![
        ("author.resources.limits", json!({ "cpu": "3" })),
        ("author.resources.requests", json!({ "cpu": "3" })),
        ("author.storage.olderReleases", json!("Refuse")),
        ("author.storage.size", json!("20Gi")),
        ("author.storage.storageClassName", json!("slow")),
        ("dispatcher.drainSeconds", json!(9)),
        ("dispatcher.resources.limits", json!({ "cpu": "3" })),
        ("dispatcher.resources.requests", json!({ "cpu": "3" })),
        ("dispatcher.warmUp", json!(["/", "/en"])),
        ("network.authorFrom", json!([{ "podLabels": { "app": "proxy" }, "namespaceLabels": { "team": "web" } }])),
        ("network.policies", json!("Disabled")),
        ("network.publishFrom", json!([])),
        ("publish.replicas", json!(4)),
        ("publish.resources.limits", json!({ "cpu": "3" })),
        ("publish.resources.requests", json!({ "cpu": "3" })),
        ("rollout.guard.errorIncreasePoints", json!(9)),
        ("rollout.guard.latencyIncreaseMilliseconds", json!(9)),
        ("rollout.guard.minimumRequests", json!(9)),
        ("rollout.guard.watch", json!("90s")),
        ("rollout.guard.withoutData", json!("Fail")),
        ("rollout.onFailure", json!("Restore")),
        ("rollout.readyTimeout", json!("9m")),
        ("rollout.strategy", json!("AllAtOnce")),
        ("rollout.surge", json!(0)),
        ("route.annotations", json!({ "example.com/buffers": "16k" })),
        ("route.author.tlsSecretName", Value::Null),
        ("route.ingressClassName", json!("haproxy")),
        ("route.tlsSecretName", Value::Null),
        ("runtime.aem", json!(image)),
        ("runtime.dispatcher", json!(image)),
        ("variables", json!([{ "name": "KEY", "value": "other" }])),
    ]
}

/// What is not, why, and another value of it.
fn left() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("author.storage.retain", "concerns the deletion of the Environment", json!(false)),
        ("emergencyMode", "who may leave out tests; an emergency is shown by itself", json!("Enabled")),
        ("hold", "when a deployment begins; a wait for it is told by itself", json!({ "reason": "incident" })),
        ("route.author.hosts", "names differ by what they are", json!(["edit.example.com"])),
        ("route.hosts", "names differ by what they are", json!(["www.example.com"])),
        ("runtime.bare", "concerns an Environment that nothing was deployed to", json!("Disabled")),
        ("runtime.imagePullSecrets", "how images are fetched, not what they are", json!([{ "name": "pull" }])),
        ("type", "stage and production differ by what they are", json!("Development")),
        ("windows", "when a deployment begins; a wait for it is told by itself", json!([])),
    ]
}

/// A spec in which every field is set.
fn everything() -> Value {
    let resources = json!({ "requests": { "cpu": "1" }, "limits": { "cpu": "2" } });
    let image = format!("registry.example.com/base@sha256:{}", "1".repeat(64));
    json!({
        "type": "Stage",
        "runtime": { "aem": image, "dispatcher": image, "imagePullSecrets": [], "bare": "Enabled" },
        "author": { "resources": resources, "storage": {
            "size": "10Gi", "storageClassName": "fast", "retain": true, "olderReleases": "Accept",
        } },
        "publish": { "replicas": 2, "resources": resources },
        "dispatcher": { "resources": resources, "drainSeconds": 5, "warmUp": ["/"] },
        "rollout": { "strategy": "Rolling", "surge": 1, "readyTimeout": "15m", "onFailure": "Hold", "guard": {
            "watch": "2m", "minimumRequests": 100, "errorIncreasePoints": 1, "latencyIncreaseMilliseconds": 250,
            "withoutData": "Continue",
        } },
        "emergencyMode": "Disabled",
        "hold": null,
        "windows": [{ "kind": "Deny", "schedule": "0 16 * * FRI", "duration": "64h", "timeZone": "UTC" }],
        "variables": [{ "name": "KEY", "value": "one" }],
        "route": {
            "hosts": ["stage.example.com"], "tlsSecretName": "site", "ingressClassName": "nginx",
            "annotations": { "example.com/buffers": "8k" },
            "author": { "hosts": ["edit-stage.example.com"], "tlsSecretName": "editors" },
        },
        "network": {
            "policies": "Enabled", "authorFrom": [{ "cidr": "10.0.0.0/8" }],
            "publishFrom": [{ "podLabels": { "app": "search" } }],
        },
    })
}

/// Paths of the fields of a schema that have none below them; a list or a map is one field.
fn fields(schema: &Value, path: &str, all: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        // What is held is said in one text.
        if field["properties"].is_object() && path != "hold" {
            fields(field, &path, all);
        } else {
            all.push(path);
        }
    }
}

#[test]
fn of_every_field_of_a_spec_somebody_has_decided_whether_it_is_compared() {
    let crd = serde_json::to_value(<Environment as kube::CustomResourceExt>::crd()).unwrap();
    let mut all = vec![];
    fields(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], "", &mut all);
    all.sort_unstable();
    let (compared, left) = (compared(), left());
    let mut decided: Vec<&str> = compared.iter().map(|(path, _)| *path).collect();
    decided.extend(left.iter().map(|(path, _, _)| *path));
    decided.sort_unstable();
    assert_eq!(
        all, decided,
        "a field has to be among those that are compared, or among those that are left, with a reason"
    );

    let told = |path: &str, value: &Value| {
        let mut spec = everything();
        *spec.pointer_mut(&format!("/{}", path.replace('.', "/"))).unwrap() = value.clone();
        let of = |name: &str, spec: &Value| environment(name, "Stage", spec);
        differences(&of("stage", &everything()), &of("prod", &spec))
    };
    for (path, value) in &compared {
        let told = told(path, value);
        assert_eq!(told.len(), 1, "{path}: {told:?}");
    }
    for (path, why, value) in &left {
        assert!(told(path, value).is_empty(), "{path} is compared, although it {why}");
    }
}

#[test]
fn the_guard_routes_and_who_is_let_in_are_told_in_words() {
    let bare = environment("stage", "Stage", &json!({ "rollout": { "strategy": "Rolling" } }));
    let production = json!({
        "rollout": { "guard": { "watch": "5m", "withoutData": "Fail" } },
        "route": { "hosts": ["www.example.com"], "ingressClassName": "nginx", "tlsSecretName": "tls", "annotations": { "a/b": "c" } },
        "network": { "authorFrom": [{ "podLabels": { "app": "proxy" }, "namespaceLabels": { "team": "web" } }, { "cidr": "10.0.0.0/8" }] },
    });
    assert_eq!(
        differences(&bare, &environment("prod", "Production", &production)),
        [
            "metric guard: stage none, prod 5m, errors +1 points, mean +250 ms, of 100 requests, else Fail",
            "route of visitors: stage none, prod Ingress with TLS of class nginx",
            "also reach the author: stage none, prod pods app=proxy of namespaces team=web; 10.0.0.0/8",
            "route annotations on prod only: a/b",
        ]
    );
}

#[test]
fn a_release_of_another_pipeline_is_compared_with_where_it_was_tested() {
    let mut execution = crate::cli::samples::awaits(StepName::ApprovalProduction);
    execution.status.as_mut().unwrap().environments.as_mut().unwrap().stage = None;
    let mut around = crate::cli::samples::with_environments();
    assert!(at_the_gate(&execution, &around).is_none());
    around.tested_on = Some("stage".into());
    let (stage, production) = at_the_gate(&execution, &around).unwrap();
    assert_eq!((stage.name_any(), production.name_any()), ("stage".into(), "prod".into()));
}

#[test]
fn packages_are_compared_with_those_that_production_has() {
    let execution = |ids: &[&str]| -> PipelineExecution {
        let files: Vec<Value> = ids
            .iter()
            .map(|id| json!({ "name": format!("{id}.zip"), "sha256": format!("sha256:{}", "0".repeat(64)), "size": 1, "id": id }))
            .collect();
        let mut execution = crate::cli::samples::waiting();
        let status = execution.status.as_mut().unwrap();
        let reference = format!("registry.example.com/wknd/artifacts@sha256:{}", "0".repeat(64));
        status.artifact = serde_json::from_value(json!({ "reference": reference, "files": files })).unwrap();
        execution
    };
    let (coming, there) = (execution(&["wknd:all:2", "wknd:new:1"]), execution(&["wknd:all:1", "wknd:old:3"]));
    assert_eq!(
        packages(&coming, Some(&there)),
        [
            "packages that are new: wknd:new:1",
            "packages that go away: wknd:old:3",
            "packages of another version: wknd:all 1 → 2",
        ]
    );
    assert_eq!(packages(&coming, Some(&coming)), Vec::<String>::new());
    assert_eq!(packages(&coming, None), Vec::<String>::new());
}

#[test]
fn the_report_is_bounded() {
    let names: Vec<Value> = (0..100).map(|number| json!({ "name": format!("VAR_{number}"), "value": "x" })).collect();
    let stage = environment("stage", "Stage", &json!({ "variables": names }));
    let told = differences(&stage, &environment("prod", "Production", &json!({})));
    assert!(told.len() <= LINES_MAX && told.iter().all(|line| line.len() < 250), "{told:?}");
    assert!(told[0].ends_with("and 92 more"), "{}", told[0]);
}
