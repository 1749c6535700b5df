//! Rules that the schemas themselves carry: a mistake is told when it is written, with its remedy.

use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use crate::cluster::{Outcome, Program, bounded, config_dir, documents, in_a_program};

fn api(program: &Program, kind: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("launchway.dev", "v1alpha1", kind);
    Api::namespaced_with(program.admin(), &program.namespace, &ApiResource::from_gvk(&gvk))
}

async fn create(program: &Program, object: Value, dry_run: bool) -> Outcome {
    let kind = object["kind"].as_str().unwrap_or_default().to_string();
    let object: DynamicObject = serde_json::from_value(object).map_err(|error| error.to_string())?;
    bounded(api(program, &kind).create(&PostParams { dry_run, ..PostParams::default() }, &object)).await.map(drop)
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "launchway.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn environment(name: &str, variable: Option<&str>) -> Value {
    let variables: Vec<Value> = variable.into_iter().map(|name| json!({"name": name, "value": "x"})).collect();
    object("Environment", name, &json!({"type": "Stage", "variables": variables}))
}

fn with_variable(fields: &Value) -> Value {
    let mut variable = fields.clone();
    variable["name"] = "API_KEY".into();
    object("Environment", "stage", &json!({"type": "Stage", "variables": [variable]}))
}

fn with_variables(count: usize) -> Value {
    let variables: Vec<Value> = (0..count).map(|at| json!({"name": format!("KEY_{at}"), "value": "x"})).collect();
    object("Environment", "stage", &json!({"type": "Stage", "variables": variables}))
}

fn with_volume(storage: &Value, on_failure: &str) -> Value {
    let mut spec = json!({"type": "Stage", "rollout": {"onFailure": on_failure}});
    if !storage.is_null() {
        spec["author"] = json!({"storage": storage});
    }
    object("Environment", "stage", &spec)
}

/// An Environment whose rollouts are watched.
fn guarded(type_: &str, rollout: &Value) -> Value {
    let mut spec = json!({"type": type_, "rollout": {"guard": {}}});
    if let (Some(spec), Some(more)) = (spec["rollout"].as_object_mut(), rollout.as_object()) {
        spec.extend(more.clone());
    }
    object("Environment", "prod", &spec)
}

fn pipeline(stage: &str, production: &str) -> Value {
    object(
        "Pipeline",
        "wknd",
        &json!({
            "type": "FullStack",
            "source": {"artifact": {"repository": "registry.example.com/wknd/artifacts"}},
            "images": {"repository": "registry.example.com/wknd/images"},
            "stage": {"environment": stage}, "production": {"environment": production},
        }),
    )
}

/// A Pipeline whose gate has these thresholds: name, severity, comparator, expected.
fn thresholds(all: &[(&str, &str, &str, &str)]) -> Value {
    let of = |(name, severity, comparator, expected): &(&str, &str, &str, &str)| json!({"name": name, "severity": severity, "comparator": comparator, "expected": expected});
    let mut pipeline = pipeline("stage", "prod");
    pipeline["spec"]["gates"] = json!({"thresholds": all.iter().map(of).collect::<Vec<_>>()});
    pipeline
}

/// A Pipeline with a scanner of this name, twice.
fn scanners(name: &str, other: &str) -> Value {
    let image = format!("registry.example.com/scan@sha256:{}", "1".repeat(64));
    let mut pipeline = pipeline("stage", "prod");
    pipeline["spec"]["gates"] = json!({"scanners": [{"name": name, "image": image}, {"name": other, "image": image}]});
    pipeline
}

fn web_tier(places: &Value) -> Value {
    let mut spec = json!({
        "type": "WebTier",
        "source": {"artifact": {"repository": "registry.example.com/wknd/artifacts"}},
        "images": {"repository": "registry.example.com/wknd/web"},
    });
    if let (Some(spec), Some(places)) = (spec.as_object_mut(), places.as_object()) {
        spec.extend(places.clone());
    }
    object("Pipeline", "web", &spec)
}

/// A Pipeline whose images go with its executions.
fn history(pipeline: &Value) -> Value {
    let mut pipeline = pipeline.clone();
    pipeline["spec"]["history"] = json!({"succeeded": 3, "images": "Delete"});
    pipeline
}

/// A Pipeline that builds from Git and generates versions, of a type that goes to one place or to two.
fn generates(type_: &str) -> Value {
    let mut pipeline = pipeline("stage", "prod");
    let git =
        json!({"url": "https://git.example.com/wknd.git", "branch": "main", "builder": {"projectVersion": "Generate"}});
    pipeline["spec"]["source"] = json!({"git": git});
    if type_ != "FullStack" {
        pipeline["spec"]["production"] = Value::Null;
        pipeline["spec"]["stage"] = Value::Null;
        pipeline["spec"]["deployment"] = json!({"environment": "dev"});
    }
    pipeline["spec"]["type"] = type_.into();
    pipeline
}

fn execution(artifact: &Value) -> Value {
    object("PipelineExecution", "wknd-1", &json!({"pipelineRef": {"name": "wknd"}, "artifact": artifact}))
}

/// A pipeline that only checks, with this source.
fn of(source: &Value) -> Value {
    object("Pipeline", "checks", &json!({"type": "CodeQuality", "source": source}))
}

/// Sources that the pipeline names itself, and that an object of Flux stands for.
fn sources() -> Vec<(&'static str, Value, Option<&'static str>)> {
    let git = |mut git: Value| {
        git["artifacts"] = json!({"repository": "registry.example.com/built"});
        of(&json!({"git": git}))
    };
    let artifact = |artifact: Value| of(&json!({"artifact": artifact}));
    let (url, flux) = ("https://git.example.com/wknd.git", json!({"name": "site"}));
    let repository = "registry.example.com/wknd/artifacts";
    vec![
        ("a branch", git(json!({"url": url, "branch": "main"})), None),
        ("a GitRepository", git(json!({"fluxRef": flux})), None),
        ("neither of both", git(json!({})), Some("spec.source.git.fluxRef: exactly one of them")),
        (
            "a URL and a GitRepository",
            git(json!({"url": url, "branch": "main", "fluxRef": flux})),
            Some("exactly one of them"),
        ),
        ("a URL without a ref", git(json!({"url": url})), Some("spec.source.git.tag: exactly one of them")),
        ("a GitRepository and a branch", git(json!({"fluxRef": flux, "branch": "main"})), Some("leave both out")),
        ("a repository", artifact(json!({"repository": repository})), None),
        ("an OCIRepository", artifact(json!({"fluxRef": flux, "secretRef": {"name": "pull"}})), None),
        ("no repository", artifact(json!({"tag": "main"})), Some("spec.source.artifact.fluxRef: exactly one of them")),
        ("an OCIRepository and a tag", artifact(json!({"fluxRef": flux, "tag": "main"})), Some("leave it out")),
        (
            "an OCIRepository and a repository",
            artifact(json!({"fluxRef": flux, "repository": repository})),
            Some("exactly one of them"),
        ),
    ]
}

#[tokio::test]
async fn schemas_refuse_what_cannot_work_and_say_why() {
    in_a_program("schema", |program| async move {
        let digest = format!("sha256:{}", "1".repeat(64));
        let created = [
            ("an Environment", environment("stage", Some("API_URL")), None),
            ("a name of 40 characters", environment(&"x".repeat(40), None), None),
            ("a name of 41 characters", environment(&"x".repeat(41), None), Some("at most 40 characters")),
            (
                "a name that begins with a digit",
                environment("1stage", None),
                Some("must be a DNS label that begins with a letter"),
            ),
            (
                "a name with a dot",
                environment("stage.one", None),
                Some("must be a DNS label that begins with a letter"),
            ),
            ("a variable INTERNAL_", environment("stage", Some("INTERNAL_X")), Some("are reserved: choose another")),
            ("a variable ADOBE_", environment("stage", Some("ADOBE_X")), Some("are reserved: choose another")),
            (
                "a variable LAUNCHWAY_",
                environment("stage", Some("LAUNCHWAY_TIER")),
                Some("are reserved: choose another"),
            ),
            ("a variable that begins with a digit", environment("stage", Some("1X")), Some("should match")),
            ("a variable CONST_", environment("stage", Some("CONST_X")), Some("are reserved: choose another")),
            ("a variable of the operator's", environment("stage", Some("AEM_HOST")), Some("are set by the operator")),
            ("a variable from a Secret", with_variable(&json!({"secretKeyRef": {"name": "api", "key": "k"}})), None),
            ("a variable without a value", with_variable(&json!({})), Some("value or secretKeyRef: exactly one")),
            (
                "a variable with both",
                with_variable(&json!({"value": "x", "secretKeyRef": {"name": "api", "key": "k"}})),
                Some("value or secretKeyRef: exactly one"),
            ),
            (
                "a Secret for the dispatcher",
                with_variable(&json!({"secretKeyRef": {"name": "api", "key": "k"}, "services": ["dispatcher"]})),
                Some("not for the dispatcher"),
            ),
            ("200 variables", with_variables(200), None),
            ("201 variables", with_variables(201), Some("must have at most 200 items")),
            ("a metric guard of production", guarded("Production", &json!({})), None),
            ("one of a stage that rolls", guarded("Stage", &json!({"strategy": "Rolling"})), None),
            (
                "one of a stage that does not",
                guarded("Stage", &json!({})),
                Some("set spec.rollout.strategy to Rolling"),
            ),
            (
                "one of a production that does not",
                guarded("Production", &json!({"strategy": "AllAtOnce"})),
                Some("set spec.rollout.strategy to Rolling"),
            ),
            (
                "a watch as long as the ready time-out",
                guarded("Production", &json!({"guard": {"watch": "14m"}})),
                Some("more than a minute shorter"),
            ),
            (
                "a watch of a moment",
                guarded("Production", &json!({"guard": {"watch": "5s"}})),
                Some("must be at least 10s"),
            ),
            (
                "a guard that needs no requests",
                guarded("Production", &json!({"guard": {"minimumRequests": 0}})),
                Some("should be greater than or equal to 1"),
            ),
            ("a way back without a volume", with_volume(&Value::Null, "Restore"), None),
            ("a volume that is held", with_volume(&json!({"size": "1Gi"}), "Hold"), None),
            (
                "a way back with a volume",
                with_volume(&json!({"size": "1Gi"}), "Restore"),
                Some("an author with a volume does not go back by itself"),
            ),
            (
                "a way back that somebody answers for",
                with_volume(&json!({"size": "1Gi", "olderReleases": "Accept"}), "Restore"),
                None,
            ),
            ("an unknown type", object("Environment", "stage", &json!({"type": "Test"})), Some("Unsupported value")),
            (
                "too many pairs",
                object("Environment", "stage", &json!({"type": "Stage", "publish": {"replicas": 51}})),
                Some("less than or equal to 50"),
            ),
            (
                "a base image by tag",
                object(
                    "Environment",
                    "stage",
                    &json!({"type": "Stage", "runtime": {"aem": "registry.example.com/base:1"}}),
                ),
                Some("should match"),
            ),
            ("a Pipeline", pipeline("stage", "prod"), None),
            ("one Environment twice", pipeline("stage", "stage"), Some("must be two Environments")),
            (
                "one metric with a threshold of each severity",
                thresholds(&[("rating", "critical", "GTE", "B"), ("rating", "important", "GTE", "A")]),
                None,
            ),
            ("a word that has to be equal", thresholds(&[("mode", "important", "EQ", "strict")]), None),
            (
                "a word that has to be greater",
                thresholds(&[("mode", "important", "GTE", "strict")]),
                Some("only EQ and NEQ compare other words"),
            ),
            (
                "two thresholds of one severity",
                thresholds(&[("rating", "critical", "GTE", "B"), ("rating", "critical", "GTE", "A")]),
                Some("Duplicate value"),
            ),
            ("two scanners", scanners("pmd", "trivy"), None),
            ("two scanners of one name", scanners("pmd", "pmd"), Some("Duplicate value")),
            ("a scanner whose name makes no container", scanners("pmd", "Trivy"), Some("should match")),
            ("a web tier", web_tier(&json!({"deployment": {"environment": "dev"}})), None),
            (
                "a web tier of production",
                web_tier(&json!({"production": {"environment": "prod", "deploy": {"flushPaths": ["/content/wknd"]}}})),
                None,
            ),
            (
                "a web tier that goes to two Environments",
                web_tier(&json!({"deployment": {"environment": "dev"}, "production": {"environment": "prod"}})),
                Some("goes to one Environment"),
            ),
            ("a web tier that goes nowhere", web_tier(&json!({})), Some("goes to one Environment")),
            (
                "a path without a slash",
                web_tier(&json!({"deployment": {"environment": "dev", "deploy": {"invalidatePaths": ["content"]}}})),
                Some("should match"),
            ),
            ("images that go with the history", history(&pipeline("stage", "prod")), None),
            (
                "images of a pipeline that makes none",
                history(&of(&json!({"artifact": {"repository": "registry.example.com/a"}}))),
                Some("makes no images that could be deleted"),
            ),
            ("generated versions", generates("FullStack"), None),
            (
                "generated versions that lead nowhere",
                generates("Deployment"),
                Some("is for pipelines that can lead to production"),
            ),
            ("an execution by digest", execution(&json!({"digest": digest})), None),
            ("by digest and tag", execution(&json!({"digest": digest, "tag": "main"})), Some("exactly one of them")),
            ("by neither", execution(&json!({})), Some("exactly one of them")),
        ];
        let mut failures = Vec::new();
        let mut judge = |name: &str, verdict: Outcome, refusal: Option<&str>| match (verdict, refusal) {
            (Ok(()), None) => println!("ok   {name}"),
            (Err(error), Some(part)) if error.contains(part) => println!("ok   {name}"),
            (verdict, refusal) => {
                failures.push(format!("{name}: {verdict:?}, expected {}", refusal.unwrap_or("that it is admitted")));
            }
        };
        for (name, object, refusal) in created.into_iter().chain(sources()) {
            judge(name, create(&program, object, true).await, refusal);
        }

        create(&program, environment("stage", None), false).await?;
        create(&program, pipeline("stage", "prod"), false).await?;
        let mut kept = with_volume(&json!({"size": "1Gi"}), "Hold");
        kept["metadata"]["name"] = "kept".into();
        create(&program, kept, false).await?;
        create(&program, execution(&json!({"tag": "main"})), false).await?;
        let changed = [
            (
                "another type of Environment",
                "Environment",
                "stage",
                json!({"type": "Production"}),
                Some("spec.type cannot be changed"),
            ),
            ("more pairs", "Environment", "stage", json!({"publish": {"replicas": 3}}), None),
            ("a volume that goes, too", "Environment", "kept", json!({"author": {"storage": {"retain": false}}}), None),
            (
                "a larger volume",
                "Environment",
                "kept",
                json!({"author": {"storage": {"size": "2Gi"}}}),
                Some("size and storageClassName of spec.author.storage cannot be changed"),
            ),
            (
                "no volume any more",
                "Environment",
                "kept",
                json!({"author": {"storage": null}}),
                Some("cannot be added or taken away"),
            ),
            ("another time-out", "Pipeline", "wknd", json!({"buildTimeout": "1h"}), None),
            (
                "both Environments the same",
                "Pipeline",
                "wknd",
                json!({"production": {"environment": "stage"}}),
                Some("must be two Environments"),
            ),
            (
                "another artifact",
                "PipelineExecution",
                "wknd-1",
                json!({"artifact": {"tag": "other"}}),
                Some("cannot be changed: create another one"),
            ),
            (
                "another requester",
                "PipelineExecution",
                "wknd-1",
                json!({"requestedBy": "bob"}),
                Some("cannot be changed: create another one"),
            ),
        ];
        for (name, kind, object, spec, refusal) in changed {
            let patch = Patch::Merge(json!({"spec": spec}));
            let verdict = bounded(api(&program, kind).patch(object, &PatchParams::default().dry_run(), &patch)).await;
            judge(name, verdict.map(drop), refusal);
        }
        Ok(failures)
    })
    .await;
}

#[tokio::test]
async fn samples_are_admitted() {
    in_a_program("samples", |program| async move {
        let mut failures = Vec::new();
        for file in ["environments.yaml", "pipeline.yaml", "pipelineexecution.yaml"] {
            let path = config_dir().join("samples").join(file);
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            for sample in documents(&text)? {
                if let Err(error) = create(&program, sample, true).await {
                    failures.push(format!("{file}: {error}"));
                }
            }
        }
        Ok(failures)
    })
    .await;
}
