//! Outlines of executions and Environments.

#![allow(clippy::unwrap_used)]

use launchway_crds::{Environment, PipelineExecution};
use serde_json::{Value, json};

use super::{End, EnvironmentOutline, ExecutionOutline};

fn execution(status: &Value) -> Value {
    json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": {
            "name": "wknd-7", "namespace": "wknd", "uid": "u", "resourceVersion": "9", "generation": 1,
            "creationTimestamp": "2026-11-21T10:00:00Z",
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
            "managedFields": [{ "manager": "launchway", "operation": "Update", "fieldsV1": { "f:spec": {} } }],
        },
        "spec": { "pipelineRef": { "name": "wknd" }, "sourceExecution": "wknd-6", "mode": "Emergency" },
        "status": status,
    })
}

fn running() -> Value {
    let digest = format!("sha256:{}", "ab".repeat(32));
    json!({
        "observedGeneration": 1, "state": "Waiting", "step": "validate", "startTime": "2026-11-21T10:00:01Z",
        "conditions": [{
            "type": "PipelineChanged", "status": "True", "reason": "AppliesToNext", "message": "edited",
            "lastTransitionTime": "2026-11-21T10:00:02Z",
        }],
        "pipelineRevision": { "generation": 3, "name": "wknd-abc", "digest": digest },
        "environments": { "stage": "stage", "production": "prod" },
        "source": { "pipeline": "stage-only", "execution": "wknd-6", "uid": "u6" },
        "waitingFor": {
            "step": "validate", "since": "2026-11-21T10:00:02Z", "why": "suspended",
        },
        "steps": [{ "name": "validate", "state": "Waiting", "reason": "Suspended" }],
        "untold": [{ "event": "Started", "at": "2026-11-21T10:00:01Z" }],
    })
}

/// The outline as the apiserver's JSON gives it, which has to be that of the whole object.
fn outline(json: &Value) -> ExecutionOutline {
    let read: ExecutionOutline = serde_json::from_str(&json.to_string()).unwrap();
    let whole: PipelineExecution = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(read, ExecutionOutline::of(&whole));
    read
}

#[test]
fn of_an_execution_that_runs_it_is_known_what_a_change_means_to_it() {
    let read = outline(&execution(&running()));
    let progress = read.progress.clone().unwrap();
    assert_eq!((read.pipeline.as_str(), read.names.as_slice()), ("wknd", &["wknd-6".to_string()][..]));
    assert!(progress.suspended && progress.tells_of_change && !read.is_told() && read.emergency);
    assert_eq!((progress.takes.as_deref(), read.ended()), (Some("u6"), None));
    assert_eq!(progress.runs.unwrap().name, "wknd-abc");
    assert_eq!(read.environments().unwrap().all().collect::<Vec<_>>(), ["stage", "prod"]);
    assert_eq!(read.metadata.resource_version.as_deref(), Some("9"));
    assert!(read.metadata.annotations.is_none() && read.metadata.managed_fields.is_none(), "they are the most of it");
}

#[test]
fn of_an_execution_that_ended_only_that_is_kept() {
    for (state, end) in [
        ("Finished", End::Succeeded),
        ("Failed", End::Failed),
        ("Cancelled", End::Failed),
        ("AlreadyExecuted", End::Known),
        ("NameReused", End::Known),
    ] {
        let mut status = running();
        (status["state"], status["completionTime"]) = (json!(state), json!("2026-11-21T11:00:00Z"));
        let read = outline(&execution(&status));
        assert_eq!(read.ended().unwrap().1, end, "{state}");
        let progress = read.progress.unwrap();
        assert!(read.names.is_empty() && !read.emergency && progress.takes.is_none() && progress.runs.is_none());
    }
}

#[test]
fn a_new_execution_has_no_progress() {
    let read = outline(&execution(&Value::Null));
    assert!(read.progress.is_none() && read.ended().is_none() && read.is_told());
}

#[test]
fn what_this_version_does_not_know_hides_nothing_else() {
    let mut status = running();
    (status["step"], status["waitingFor"]["step"]) = (json!("Teleport"), json!("Teleport"));
    status["steps"][0] = json!({ "name": "Teleport", "state": "Levitating" });
    let mut execution = execution(&status);
    execution["spec"]["mode"] = json!("Hurry");
    let text = execution.to_string();
    assert!(serde_json::from_str::<PipelineExecution>(&text).is_err());
    let progress = serde_json::from_str::<ExecutionOutline>(&text).unwrap().progress.unwrap();
    assert_eq!((progress.step, progress.waits_at, progress.state.as_str()), (None, None, "Waiting"));
    assert!(progress.environments.is_some());
}

#[test]
fn of_an_environment_the_lock_and_drift_are_kept() {
    let json = json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
        "metadata": { "name": "prod", "namespace": "wknd", "uid": "e" }, "spec": { "type": "Production" },
        "status": {
            "lock": { "execution": "wknd-7", "uid": "u", "since": "2026-11-21T10:00:00Z" },
            "conditions": [{
                "type": "Drifted", "status": "True", "reason": "Edited", "message": "by hand",
                "lastTransitionTime": "2026-11-21T10:00:02Z",
            }],
        },
    });
    serde_json::from_value::<Environment>(json.clone()).unwrap();
    let read: EnvironmentOutline = serde_json::from_value(json).unwrap();
    assert!(read.has_drifted() && read.is_held_by("u") && !read.is_held_by("other"));
    let fresh = json!({ "metadata": { "name": "dev" }, "spec": { "type": "Development" } });
    let fresh: EnvironmentOutline = serde_json::from_value(fresh).unwrap();
    assert!(!fresh.has_drifted() && !fresh.is_held_by("u"));
}
