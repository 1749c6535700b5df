//! What is sent: one CloudEvent 1.0 in structured JSON for each thing that happened.

use launchway_crds::{
    PipelineExecution,
    execution::{PipelineExecutionStatus, Step},
    notification::Untold,
};
use serde_json::{Value, json};

/// Media type of the body.
pub const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// An event, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The same for every try, and for every operator that tries.
    pub id: String,
    /// The event as JSON.
    pub body: Vec<u8>,
}

/// Name of something that happened to an execution: its UID makes it different from every other one's.
#[must_use]
pub fn id(execution: &PipelineExecution, untold: &Untold) -> String {
    let uid = execution.metadata.uid.as_deref().unwrap_or_default();
    let step = untold.step.map_or("execution", |step| step.as_str());
    // No character that would need quotes in a header.
    format!("{uid}.{}.{step}.{}", untold.event.as_str(), untold.at.0.as_second())
}

/// The event for something that happened. Its data tell how the execution is now: what happened may be some time ago.
#[must_use]
pub fn event(execution: &PipelineExecution, untold: &Untold) -> Event {
    let id = id(execution, untold);
    let meta = &execution.metadata;
    let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let event = json!({
        "specversion": "1.0",
        "id": id,
        "source": format!("/apis/launchway.dev/v1alpha1/namespaces/{namespace}/pipelineexecutions"),
        "type": format!("dev.launchway.execution.{}", untold.event.as_str()),
        "subject": name,
        "time": untold.at.0.to_string(),
        "datacontenttype": "application/json",
        "data": data(execution, untold),
    });
    Event { id, body: event.to_string().into_bytes() }
}

fn data(execution: &PipelineExecution, untold: &Untold) -> Value {
    let fresh = PipelineExecutionStatus::default();
    let status = execution.status.as_ref().unwrap_or(&fresh);
    let meta = &execution.metadata;
    let succeeded = launchway_crds::conditions::get(&status.conditions, launchway_crds::conditions::types::SUCCEEDED);
    json!({
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
        "pipeline": execution.spec.pipeline_ref.name,
        "step": untold.step,
        "mode": execution.spec.mode,
        "trigger": status.trigger,
        "requestedBy": execution.spec.requested_by,
        "state": status.state,
        "message": succeeded.map(|condition| condition.message.as_str()),
        "environments": status.environments,
        "artifact": status.artifact.as_ref().map(|artifact| &artifact.reference),
        "release": status.release,
        "waitingFor": status.waiting_for,
        "startTime": status.start_time,
        "completionTime": status.completion_time,
        "steps": status.steps.iter().map(step).collect::<Vec<_>>(),
    })
}

/// A step without its message and metrics, which may be long.
fn step(step: &Step) -> Value {
    json!({
        "name": step.name, "environment": step.environment, "state": step.state, "reason": step.reason,
        "startedAt": step.started_at, "finishedAt": step.finished_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution() -> PipelineExecution {
        serde_json::from_value(json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
            "metadata": { "name": "wknd-1", "namespace": "wknd", "uid": "uid-1" },
            "spec": { "pipelineRef": { "name": "wknd" }, "requestedBy": "ann" },
            "status": {
                "state": "Waiting", "startTime": "2026-11-21T10:00:00Z",
                "steps": [{ "name": "validate", "state": "Finished", "message": "x".repeat(1000) }],
                "waitingFor": { "step": "approvalProduction", "why": "approval", "since": "2026-11-21T10:05:00Z" },
            },
        }))
        .unwrap()
    }

    fn untold() -> Untold {
        serde_json::from_value(json!({
            "event": "Waiting", "step": "approvalProduction", "at": "2026-11-21T10:05:00Z",
        }))
        .unwrap()
    }

    #[test]
    fn an_event_has_what_cloudevents_asks_for_and_a_summary_of_status() {
        let sent: Value = serde_json::from_slice(&event(&execution(), &untold()).body).unwrap();
        for (attribute, value) in [
            ("specversion", "1.0"),
            ("id", "uid-1.waiting.approvalProduction.1795255500"),
            ("source", "/apis/launchway.dev/v1alpha1/namespaces/wknd/pipelineexecutions"),
            ("type", "dev.launchway.execution.waiting"),
            ("subject", "wknd-1"),
            ("time", "2026-11-21T10:05:00Z"),
            ("datacontenttype", "application/json"),
        ] {
            assert_eq!(sent[attribute], value, "{attribute}");
        }
        assert_eq!(sent["data"]["waitingFor"]["why"], "approval");
        assert_eq!(sent["data"]["steps"][0]["state"], "Finished");
        assert!(sent["data"]["steps"][0].get("message").is_none(), "what may be long stays in status");
    }

    #[test]
    fn an_id_is_the_same_at_every_try_and_another_for_everything_else() {
        let (execution, waiting) = (execution(), untold());
        assert_eq!(id(&execution, &waiting), id(&execution.clone(), &waiting));
        let mut expiring = waiting.clone();
        expiring.event = launchway_crds::notification::Happening::Expiring;
        assert_ne!(id(&execution, &waiting), id(&execution, &expiring));
        let mut other = execution.clone();
        other.metadata.uid = Some("uid-2".into());
        assert_ne!(id(&execution, &waiting), id(&other, &waiting));
    }
}
