//! What a Pipeline's memory lets go, and what was told and is taken away.

use launchway_crds::{Pipeline, PipelineExecution, notification::Untold};
use serde_json::{Value, json};

use super::{Answer, apiserver, conflict, gone, lines, refusal};
use crate::{
    effects::{memory::perform, untold::told},
    error::Error,
    plan::memory::Action,
};

const EXECUTION: &str = "/apis/launchway.dev/v1alpha1/namespaces/wknd/pipelineexecutions/wknd-1";

fn pipeline() -> Pipeline {
    serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline", "metadata": { "name": "wknd", "namespace": "wknd" },
        "spec": { "type": "CodeQuality", "source": { "artifact": { "repository": "registry.example.com/a" } } },
    }))
    .unwrap()
}

fn deleted() -> Answer {
    (200, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
}

#[tokio::test]
async fn an_execution_is_deleted_as_it_was_seen_or_not_at_all() {
    let delete = Action::DeleteExecution { name: "wknd-1".into(), uid: "uid-1".into(), version: "7".into() };
    for answer in [deleted(), gone(), conflict()] {
        let (context, script) = apiserver(vec![answer]);
        perform(&context, &pipeline(), &delete).await.unwrap();
        let asked = script.asked();
        assert_eq!(lines(&asked), [format!("DELETE {EXECUTION}")]);
        let conditions = &asked[0].body["preconditions"];
        assert_eq!((&conditions["uid"], &conditions["resourceVersion"]), (&json!("uid-1"), &json!("7")));
    }
    let (context, _) = apiserver(vec![refusal(403, "Forbidden")]);
    assert!(matches!(perform(&context, &pipeline(), &delete).await, Err(Error::Kube { .. })));
}

#[tokio::test]
async fn a_version_that_nobody_runs_is_deleted_by_its_uid() {
    let delete = Action::DeleteRevision { name: "wknd-a".into(), uid: "uid-a".into() };
    let (context, script) = apiserver(vec![deleted()]);
    perform(&context, &pipeline(), &delete).await.unwrap();
    let asked = script.asked();
    assert_eq!(lines(&asked), ["DELETE /apis/apps/v1/namespaces/wknd/controllerrevisions/wknd-a"]);
    assert_eq!(asked[0].body["preconditions"]["uid"], "uid-a");
}

fn untold(event: &str) -> Value {
    json!({ "event": event, "at": "2026-11-21T10:00:00Z" })
}

fn execution(uid: &str, version: &str, all: &[Value]) -> Value {
    json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": { "name": "wknd-1", "namespace": "wknd", "uid": uid, "resourceVersion": version },
        "spec": { "pipelineRef": { "name": "wknd" } }, "status": { "state": "Running", "untold": all },
    })
}

#[tokio::test]
async fn what_was_told_is_taken_away_and_what_happened_meanwhile_stays() {
    let of = |value: Value| -> PipelineExecution { serde_json::from_value(value).unwrap() };
    let over: Vec<Untold> = vec![serde_json::from_value(untold("Started")).unwrap()];
    let seen = of(execution("uid-1", "3", &[untold("Started")]));
    let now = execution("uid-1", "4", &[untold("Started"), untold("Ended")]);
    let (context, script) = apiserver(vec![(200, now.clone()), conflict(), (200, now.clone()), (200, now.clone())]);
    told(&context, &seen, &over).await.unwrap();
    let asked = script.asked();
    let (get, put) = (format!("GET {EXECUTION}"), format!("PUT {EXECUTION}/status"));
    assert_eq!(lines(&asked), [&get, &put, &get, &put].map(String::as_str));
    assert_eq!(asked[3].body["metadata"]["resourceVersion"], "4");
    assert_eq!(asked[3].body["status"]["untold"], json!([untold("Ended")]));
    // Told before, gone, or another one of that name: nothing is written.
    let told_before = execution("uid-1", "5", &[untold("Ended")]);
    for answer in [(200, told_before), gone(), (200, execution("uid-2", "1", &[untold("Started")]))] {
        let (context, script) = apiserver(vec![answer]);
        told(&context, &seen, &over).await.unwrap();
        assert_eq!(lines(&script.asked()), [get.as_str()]);
    }
}
