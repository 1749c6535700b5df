//! The chart and its kustomize twin: the same objects, current, strict about values, and without a right on pods.
//! Needs `helm` and `kubectl` on the PATH, no cluster.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde::Deserialize;
use serde_json::{Value, json};

const STAMPS: &str = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy";
const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Standard output of a program, or what it complains about.
fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).current_dir(root()).output().unwrap_or_else(|error| {
        panic!("{program} cannot be started ({error}): PATH=\"$(e2e/cluster/build.sh | tail -1):$PATH\" has it")
    });
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn template(args: &[&str]) -> Result<String, String> {
    let base = ["template", "launchway", "charts/launchway", "--namespace", "launchway-system"];
    run("helm", &[&base[..], args].concat())
}

fn objects(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("not YAML: {error}\n{text}")))
        .filter(|document| !document.is_null())
        .collect()
}

fn rendered(args: &[&str]) -> BTreeMap<String, Value> {
    by_name(&template(args).unwrap_or_else(|error| panic!("the chart does not render with {args:?}: {error}")))
}

/// Objects by kind, namespace and name, without the marks of the tool that rendered them.
fn by_name(text: &str) -> BTreeMap<String, Value> {
    objects(text)
        .into_iter()
        .map(|mut object| {
            let metadata = &mut object["metadata"];
            for (map, keys) in [
                ("labels", &["helm.sh/chart", "app.kubernetes.io/managed-by"][..]),
                ("annotations", &["helm.sh/resource-policy"][..]),
            ] {
                let Some(entries) = metadata[map].as_object_mut() else {
                    metadata.as_object_mut().map(|metadata| metadata.remove(map));
                    continue;
                };
                entries.retain(|key, _| !keys.contains(&key.as_str()));
                if entries.is_empty() {
                    metadata.as_object_mut().map(|metadata| metadata.remove(map));
                }
            }
            let part = |value: &Value| value.as_str().unwrap_or("-").to_string();
            let name = format!(
                "{} {}/{}",
                part(&object["kind"]),
                part(&metadata_of(&object)["namespace"]),
                part(&metadata_of(&object)["name"])
            );
            (name, object)
        })
        .collect()
}

/// Path of the first difference. 1 and 1.0 are the same number: Helm and serde write whole numbers in two ways.
fn difference(path: &str, left: &Value, right: &Value) -> Option<String> {
    match (left, right) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys: Vec<_> = one.keys().chain(other.keys()).collect();
            keys.sort();
            keys.into_iter().find_map(|key| difference(&format!("{path}.{key}"), &left[key], &right[key]))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .enumerate()
            .find_map(|(at, (left, right))| difference(&format!("{path}[{at}]"), left, right)),
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => None,
        _ => (left != right).then(|| format!("{path}: {left} and {right}")),
    }
}

fn metadata_of(object: &Value) -> &Value {
    &object["metadata"]
}

fn kinds(objects: &BTreeMap<String, Value>, kind: &str) -> usize {
    objects.values().filter(|object| object["kind"] == kind).count()
}

#[test]
fn generated_files_are_current() {
    let checked = Command::new(root().join("config/generate.sh")).arg("--check").output();
    let checked = checked.unwrap_or_else(|error| panic!("config/generate.sh cannot be started: {error}"));
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn helm_and_kustomize_install_the_same_objects() {
    let helm = rendered(&[STAMPS]);
    let mut kustomize =
        by_name(&run("kubectl", &["kustomize", "config/default"]).unwrap_or_else(|error| panic!("{error}")));
    assert!(
        kustomize.remove("Namespace -/launchway-system").is_some(),
        "Helm makes the Namespace itself, kustomize has to bring it"
    );
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&helm), names(&kustomize));
    for (name, object) in &helm {
        assert_eq!(difference(name, object, &kustomize[name]), None, "Helm and kustomize differ");
    }
}

#[test]
fn kustomize_gives_jobs_the_image_that_the_operator_runs() {
    let folder = tempfile::tempdir_in(root().join("config")).unwrap_or_else(|error| panic!("{error}"));
    let default = read("config/default/kustomization.yaml").replace("namespace.yaml", "../default/namespace.yaml");
    let images = "images: [{name: registry.launchway.dev/launchway, newName: example.com/copy, newTag: v9}]\n";
    let written = std::fs::write(folder.path().join("kustomization.yaml"), default + images);
    written.unwrap_or_else(|error| panic!("{error}"));
    let args = ["kustomize", "--load-restrictor=LoadRestrictionsNone", &folder.path().display().to_string()];
    let objects = by_name(&run("kubectl", &args).unwrap_or_else(|error| panic!("{error}")));
    let container = &objects["Deployment launchway-system/launchway"]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "example.com/copy:v9");
    assert_eq!(container["env"][0], json!({"name": "LAUNCHWAY_IMAGE", "value": "example.com/copy:v9"}));
}

#[test]
fn the_crds_are_those_of_the_api_and_survive_an_uninstall() {
    let helm = objects(&template(&[]).unwrap_or_else(|error| panic!("{error}")));
    for plural in ["environments", "pipelines", "pipelineexecutions"] {
        let name = format!("{plural}.launchway.dev");
        let crd = helm
            .iter()
            .find(|object| object["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        let api = objects(&read(&format!("crds/yaml/{plural}.yaml"))).remove(0);
        assert_eq!(difference(&name, &crd["spec"], &api["spec"]), None, "chart and crds/yaml differ");
        assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep", "{name}");
    }
    assert_eq!(kinds(&rendered(&["--set=crds.enabled=false"]), "CustomResourceDefinition"), 0);
}

#[test]
fn no_role_writes_pods_or_the_status_that_approvals_rest_on() {
    let writes = |rule: &Value| {
        let verbs = rule["verbs"].as_array().cloned().unwrap_or_default();
        verbs.iter().any(|verb| !["get", "list", "watch"].contains(&verb.as_str().unwrap_or_default()))
    };
    for (name, role) in rendered(&[]).iter().filter(|(_, object)| object["rules"].is_array()) {
        for rule in role["rules"].as_array().into_iter().flatten().filter(|rule| writes(rule)) {
            let resources = rule["resources"].as_array().cloned().unwrap_or_default();
            for resource in resources.iter().filter_map(Value::as_str) {
                assert!(resource != "*" && !resource.starts_with("pods"), "{name} writes {resource}");
                let own_status = resource.ends_with("/status") && name != "ClusterRole -/launchway-operator";
                assert!(!own_status, "{name} writes {resource}: only the operator may");
            }
            assert!(!rule["verbs"].as_array().is_some_and(|verbs| verbs.contains(&json!("*"))), "{name} has verb *");
        }
    }
}

#[test]
fn the_operator_keeps_what_an_environment_is_made_of_and_everybody_may_plan_it() {
    let objects = rendered(&[]);
    let may = |role: &str, group: &str, resource: &str, verb: &str| {
        let rules =
            objects[&format!("ClusterRole -/launchway-{role}")]["rules"].as_array().cloned().unwrap_or_default();
        let has =
            |rule: &Value, list: &str, text: &str| rule[list].as_array().is_some_and(|all| all.contains(&json!(text)));
        rules
            .iter()
            .any(|rule| has(rule, "apiGroups", group) && has(rule, "resources", resource) && has(rule, "verbs", verb))
    };
    for (group, resource) in [
        ("apps", "statefulsets"),
        ("", "services"),
        ("policy", "poddisruptionbudgets"),
        ("networking.k8s.io", "networkpolicies"),
        ("networking.k8s.io", "ingresses"),
    ] {
        for verb in ["get", "list", "watch", "create", "patch", "delete"] {
            assert!(may("operator", group, resource, verb), "the operator has no {verb} on {resource}");
        }
        for role in ["viewer", "developer", "approver"] {
            assert!(may(role, group, resource, "list"), "{role} cannot plan: no list on {resource}");
            assert!(!may(role, group, resource, "patch"), "{role} patches {resource}");
        }
    }
}

#[test]
fn no_built_in_role_approves_manages_declares_emergencies_or_writes_pipelines() {
    let deliberate = ["approve", "manage", "emergency"];
    let mut kept = Vec::new();
    for (name, role) in rendered(&[]).iter().filter(|(_, object)| object["rules"].is_array()) {
        let deliberate = role["rules"].as_array().into_iter().flatten().any(|rule| {
            let has = |list: &str, text: &str| rule[list].as_array().is_some_and(|all| all.contains(&json!(text)));
            deliberate.iter().any(|verb| has("verbs", verb))
                || (has("resources", "pipelines") && has("verbs", "update"))
        });
        if deliberate {
            let labels = role["metadata"]["labels"].to_string();
            assert!(!labels.contains("aggregate-to"), "{name} joins a built-in role");
            kept.push(name.trim_start_matches("ClusterRole -/launchway-").to_string());
        }
    }
    assert_eq!(kept, ["admin", "approver", "emergency", "support"], "roles that are given deliberately");
}

#[test]
fn every_request_has_a_policy_that_denies_everywhere_and_the_operator_may_look_at() {
    use launchway_crds::names::requests;
    let base = "launchway-requests";
    let objects = rendered(&[STAMPS]);
    let mut names = vec![base.to_string()];
    for (request, by) in [
        (requests::APPROVE_STAGE, requests::APPROVED_STAGE_BY),
        (requests::APPROVE_PRODUCTION, requests::APPROVED_BY),
        (requests::MANAGED_GO, requests::MANAGED_GO_BY),
        (requests::SCHEDULE, requests::SCHEDULED_BY),
        (requests::OVERRIDE, requests::OVERRIDDEN_BY),
        (requests::REJECT, requests::REJECTED_BY),
        (requests::RESUME, requests::RESUMED_BY),
        (requests::CANCEL, requests::CANCELLED_BY),
    ] {
        let name = format!("{base}-{}", request.trim_start_matches("launchway.dev/"));
        let policy = objects[&format!("ValidatingAdmissionPolicy -/{name}")]["spec"].to_string();
        let stamps = objects[&format!("MutatingAdmissionPolicy -/{base}")]["spec"].to_string();
        let creations = objects[&format!("ValidatingAdmissionPolicy -/{base}")]["spec"].to_string();
        for key in [request, by] {
            assert!([&policy, &stamps, &creations].iter().all(|text| text.contains(&format!("'{key}'"))), "{key}");
        }
        names.push(name);
    }
    let deletions = "launchway-deletions".to_string();
    for name in names.iter().chain([&deletions]) {
        let spec = |kind: &str| objects[&format!("{kind} -/{name}")]["spec"].clone();
        assert_eq!(spec("ValidatingAdmissionPolicy")["failurePolicy"], "Fail", "{name}");
        let binding = json!({"policyName": name, "validationActions": ["Deny"]});
        assert_eq!(spec("ValidatingAdmissionPolicyBinding"), binding, "{name}");
    }
    assert_eq!(
        kinds(&objects, "ValidatingAdmissionPolicy"),
        names.len() + 1,
        "a policy for a request that crds does not know"
    );
    let rules = objects["ClusterRole -/launchway-operator"]["rules"].as_array().cloned().unwrap_or_default();
    let looks = rules.iter().find(|rule| rule["apiGroups"] == json!(["admissionregistration.k8s.io"]));
    assert_eq!(looks.map(|rule| rule["resourceNames"].clone()), Some(json!(names)));
}

#[test]
fn values_change_what_they_say() {
    let replicated = rendered(&["--set=replicas=2"]);
    assert_eq!(kinds(&replicated, "PodDisruptionBudget"), 1);
    assert_eq!(kinds(&rendered(&[]), "PodDisruptionBudget"), 0, "it would block the drain of a node");
    assert_eq!(kinds(&rendered(&["--set=policies.enabled=false", STAMPS]), "ValidatingAdmissionPolicy"), 0);
    for (args, stamps) in [
        (&["--set=policies.mutating=auto"][..], 0),
        (&["--set=policies.mutating=auto", STAMPS], 1),
        (&["--set=policies.mutating=true"], 1),
        (&["--set=policies.mutating=false", STAMPS], 0),
        (&["--set=policies.enabled=false", "--set=policies.mutating=true"], 0),
    ] {
        assert_eq!(kinds(&rendered(args), "MutatingAdmissionPolicy"), stamps, "{args:?}");
    }
    let set = |value: &str| rendered(&[&format!("--set={value}")]);
    let container = |objects: &BTreeMap<String, Value>| {
        objects["Deployment launchway-system/launchway"]["spec"]["template"]["spec"]["containers"][0].clone()
    };
    assert_eq!(
        container(&set(&format!("image.digest={DIGEST}")))["image"],
        format!("registry.launchway.dev/launchway@{DIGEST}")
    );
    for (value, argument) in [
        (format!("runtime.aem=example.com/sling@{DIGEST}"), format!("--runtime-aem=example.com/sling@{DIGEST}")),
        (
            format!("runtime.dispatcher=example.com/httpd@{DIGEST}"),
            format!("--runtime-dispatcher=example.com/httpd@{DIGEST}"),
        ),
        ("plainHTTP={10.0.0.1:5000}".into(), "--plain-http=10.0.0.1:5000".into()),
        ("leaderElection.enabled=false".into(), "--leader-elect=false".into()),
        ("leaderElection.leaseName=other".into(), "--lease-name=other".into()),
        ("job.memory=512Mi".into(), "--job-memory=512Mi".into()),
        ("log.level=debug".into(), "--log=debug".into()),
        ("log.format=text".into(), "--log-format=text".into()),
    ] {
        let args = container(&set(&value))["args"].clone();
        assert!(args.as_array().is_some_and(|args| args.contains(&json!(argument))), "{value}: {args}");
    }
}

#[test]
fn values_are_strict_and_the_chart_is_clean() {
    run("helm", &["lint", "--strict", "charts/launchway"]).unwrap_or_else(|error| panic!("{error}"));
    for wrong in [
        "log.lvl=info",
        "log.format=xml",
        "replicas=-1",
        "policies.mutating=perhaps",
        "image.digest=sha256:1",
        "runtime.aem=example.com/sling:latest",
        "plainHTTP={http://10.0.0.1}",
        "metrics.service.port=0",
        "networkPolicy.apiServer.ports={}",
        "unknown=1",
    ] {
        let error = template(&["--set", wrong]).err().unwrap_or_else(|| panic!("{wrong} should be refused"));
        assert!(error.contains("specifications of the schema"), "{wrong}: {error}");
    }
}

/// Paths of the values that are no objects, in the order of the file.
fn leaves(prefix: &str, value: &Value, into: &mut Vec<String>) {
    match value.as_object() {
        Some(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                leaves(&if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") }, value, into);
            }
        }
        _ => into.push(prefix.to_string()),
    }
}

#[test]
fn every_value_is_documented_and_nothing_else_is() {
    let values = objects(&read("charts/launchway/values.yaml")).remove(0);
    let readme = read("charts/launchway/README.md");
    let mut wanted = Vec::new();
    leaves("", &values, &mut wanted);
    let section = readme.split("## Values").nth(1).and_then(|text| text.split("\n## ").next()).unwrap_or_default();
    let documented: Vec<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    // Requests and limits are one value to people.
    let has = |name: &String| {
        documented.contains(&name.as_str()) || (name.starts_with("resources.") && documented.contains(&"resources"))
    };
    let missing: Vec<_> = wanted.iter().filter(|name| !has(name)).collect();
    assert!(missing.is_empty(), "charts/launchway/README.md does not name {missing:?}");
    let known = |name: &&&str| !wanted.iter().any(|value| value == **name || value.starts_with(&format!("{name}.")));
    let unknown: Vec<_> = documented.iter().filter(known).collect();
    assert!(unknown.is_empty(), "charts/launchway/README.md names values that are gone: {unknown:?}");
}
