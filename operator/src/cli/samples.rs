//! Executions as the operator would leave them, for tests of what people see.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{Environment, PipelineExecution, conditions};
use serde_json::{Value, json};

/// The moment at which the samples are looked at.
pub const NOW: &str = "2026-11-21T10:35:12Z";

fn release() -> String {
    format!("registry.example.com/wknd/images@sha256:{}", "ab".repeat(32))
}

fn execution(state: &str, steps: &Value, waiting: &Value) -> PipelineExecution {
    serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1",
        "kind": "PipelineExecution",
        "metadata": {"name": "wknd-42", "namespace": "wknd", "uid": "u-42", "annotations": {}},
        "spec": {"pipelineRef": {"name": "wknd-production"}, "requestedBy": "ann"},
        "status": {
            "state": state,
            "step": if waiting.is_null() { json!("deployProduction") } else { json!("approvalProduction") },
            "startTime": "2026-11-21T10:25:00Z",
            "environments": {"stage": "stage", "production": "prod"},
            "release": release(),
            "steps": steps,
            "waitingFor": waiting,
        },
    }))
    .unwrap()
}

fn steps(approval: Value, deploy: Value) -> Value {
    let mut steps = json!([
        {"name": "validate", "state": "Finished", "startedAt": "2026-11-21T10:25:00Z", "finishedAt": "2026-11-21T10:25:01Z"},
        {"name": "build", "state": "Finished", "startedAt": "2026-11-21T10:25:01Z", "finishedAt": "2026-11-21T10:25:03Z"},
        {"name": "buildImage", "state": "Finished", "startedAt": "2026-11-21T10:25:03Z", "finishedAt": "2026-11-21T10:25:44Z"},
        {"name": "deployStage", "environment": "stage", "state": "Finished", "startedAt": "2026-11-21T10:25:44Z", "finishedAt": "2026-11-21T10:28:54Z"},
        {"name": "smokeTest", "environment": "stage", "state": "Finished", "startedAt": "2026-11-21T10:28:54Z", "finishedAt": "2026-11-21T10:28:58Z", "message": "3 pages"},
        {"name": "functionalTest", "environment": "stage", "state": "Incomplete", "message": "the pipeline names no functional test"},
    ]);
    let list = steps.as_array_mut().unwrap();
    list.push(approval);
    list.push(deploy);
    steps
}

fn approved() -> Value {
    json!({"name": "approvalProduction", "environment": "prod", "state": "Finished",
           "startedAt": "2026-11-21T10:28:58Z", "finishedAt": "2026-11-21T10:30:00Z", "message": "approved by bob"})
}

/// Stage is tested, an approval is awaited.
pub fn waiting() -> PipelineExecution {
    let waiting = json!({
        "step": "approvalProduction",
        "why": "approval of the production deployment",
        "since": "2026-11-21T10:30:00Z",
        "until": "2026-12-05T10:30:00Z",
        "who": "whoever holds the verb approve on Environment prod",
        "command": "kubectl launchway approve wknd-42 -n wknd",
    });
    let approval = json!({"name": "approvalProduction", "environment": "prod", "state": "Waiting", "startedAt": "2026-11-21T10:30:00Z"});
    execution(
        "Waiting",
        &steps(approval, json!({"name": "deployProduction", "environment": "prod", "state": "NotStarted"})),
        &waiting,
    )
}

/// Production is being replaced.
pub fn rolling() -> PipelineExecution {
    let deploy = json!({"name": "deployProduction", "environment": "prod", "state": "Running", "startedAt": "2026-11-21T10:30:00Z"});
    execution("Running", &steps(approved(), deploy), &Value::Null)
}

/// Production did not become ready; the message is hostile too.
pub fn failed() -> PipelineExecution {
    let message = "publish-1 is not ready after 15m: failed wknd:ui.apps:1.0.0: \u{1b}[31mmissing\u{1b}[0m dependency; pair 0 goes on with the new release, pair 1 with the previous one";
    let deploy = json!({"name": "deployProduction", "environment": "prod", "state": "Failed", "reason": "DeploymentFailed",
                        "startedAt": "2026-11-21T10:30:00Z", "finishedAt": "2026-11-21T10:35:00Z", "message": message});
    let mut execution = execution("Failed", &steps(approved(), deploy), &Value::Null);
    let status = execution.status.as_mut().unwrap();
    let end: Timestamp = "2026-11-21T10:35:00Z".parse().unwrap();
    status.completion_time = Some(Time(end));
    conditions::set(
        &mut status.conditions,
        &Time(end),
        None,
        "Succeeded",
        false,
        "Failed",
        "deployProduction: DeploymentFailed",
    );
    execution
}

/// Seen by no operator.
pub fn unseen(created: &str) -> PipelineExecution {
    let mut execution = waiting();
    execution.status = None;
    execution.metadata.creation_timestamp = Some(Time(created.parse().unwrap()));
    execution
}

/// Production in the middle of the rollout of `rolling`, or of another execution's.
pub fn production(uid: &str, state: &str) -> BTreeMap<String, Environment> {
    let digest = format!("r.example.com/i@sha256:{}", "cd".repeat(32));
    let environment = json!({
        "apiVersion": "launchway.dev/v1alpha1",
        "kind": "Environment",
        "metadata": {"name": "prod", "namespace": "wknd"},
        "spec": {"type": "Production"},
        "status": {
            "target": {"execution": "wknd-42", "uid": uid, "release": release(), "since": "2026-11-21T10:30:00Z",
                       "images": {"aem": digest, "dispatcher": digest}},
            "rollout": {"state": state, "phase": "Pair 1", "since": "2026-11-21T10:34:00Z", "revision": "0123abcd",
                        "updated": 1, "total": 3, "message": "prod-publish-1: 2 of 5 packages are installed"},
        },
    });
    [("prod".to_string(), serde_json::from_value(environment).unwrap())].into()
}
