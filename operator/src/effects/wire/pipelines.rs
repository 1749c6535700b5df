//! The execution that a change of a pipeline's source starts.

use launchway_crds::Pipeline;
use serde_json::{Value, json};

use super::{Answer, apiserver, lines, refusal};
use crate::{effects::pipeline::start, error::Error, plan::pipeline::Start};

const WHO: &str = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews";
const CREATE: &str = "POST /apis/launchway.dev/v1alpha1/namespaces/wknd/pipelineexecutions";
const OWN: &str = "system:serviceaccount:launchway-system:launchway";

fn pipeline(source: &Value) -> Pipeline {
    serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline",
        "metadata": { "name": "wknd", "namespace": "wknd", "uid": "uid-wknd" },
        "spec": { "type": "CodeQuality", "source": source, "trigger": "OnChange" },
    }))
    .unwrap()
}

fn artifact() -> Value {
    json!({ "artifact": { "repository": "registry.example.com/wknd/artifacts" } })
}

fn change(revision: &str) -> Start {
    Start { name: "wknd-abababab-12345678".into(), revision: revision.into() }
}

fn own_name() -> Answer {
    (201, json!({ "metadata": {}, "spec": {}, "status": { "userInfo": { "username": OWN } } }))
}

/// What the apiserver made of a creation; only that it is one matters.
fn created() -> Answer {
    (
        201,
        json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution", "metadata": { "name": "x" },
            "spec": { "pipelineRef": { "name": "wknd" } },
        }),
    )
}

#[tokio::test]
async fn an_execution_is_created_in_the_operators_own_name_for_exactly_that_revision() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let (context, script) = apiserver(vec![own_name(), created(), created()]);
    start(&context, &pipeline(&artifact()), &change(&digest)).await.unwrap();
    // Who it is, it asks once.
    start(&context, &pipeline(&artifact()), &change(&digest)).await.unwrap();
    let asked = script.asked();
    assert_eq!(lines(&asked), [WHO, CREATE, CREATE]);
    let body = &asked[1].body;
    assert_eq!(body["metadata"]["name"], "wknd-abababab-12345678");
    assert!(body["metadata"].get("annotations").is_none(), "nothing is created approved: {body}");
    assert_eq!(
        body["spec"],
        json!({
            "pipelineRef": { "name": "wknd" }, "artifact": { "digest": digest }, "change": digest, "mode": "Normal",
            "allowOlder": false, "rebuild": false, "requestedBy": OWN,
        })
    );
}

#[tokio::test]
async fn a_change_of_sources_names_the_commit() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let git = json!({ "git": { "url": "https://git.example.com/wknd.git", "branch": "main" } });
    let (context, script) = apiserver(vec![own_name(), created()]);
    start(&context, &pipeline(&git), &change(commit)).await.unwrap();
    let spec = &script.asked()[1].body["spec"];
    assert_eq!((&spec["commit"], &spec["change"]), (&json!(commit), &json!(commit)));
    assert!(spec.get("artifact").is_none(), "{spec}");
}

#[tokio::test]
async fn an_execution_that_is_there_already_is_no_error() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let run = async |answer| {
        let (context, script) = apiserver(vec![own_name(), answer]);
        let result = start(&context, &pipeline(&artifact()), &change(&digest)).await;
        assert_eq!(lines(&script.asked()), [WHO, CREATE]);
        result
    };
    run(refusal(409, "AlreadyExists")).await.unwrap();
    let refused = run(refusal(403, "Forbidden")).await;
    assert!(matches!(refused, Err(Error::Kube { .. })), "{refused:?}");
}
