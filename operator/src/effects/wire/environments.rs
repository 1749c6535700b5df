//! Changes of an Environment, and Events.

use launchway_crds::{
    PipelineExecution,
    environment::Tier,
    execution::{PipelineExecutionStatus, Step},
    step::{StepName, StepState},
};
use serde_json::json;

use super::{Answer, Asked, apiserver, gone, lines, refusal};
use crate::{
    effects::{environment::perform, events},
    error::Error,
    plan::environment::{
        Change, ServiceName,
        objects::{Further, Side},
        world::Content,
    },
    render::{
        Contracts, Release,
        tests::{contract, deployed, environment},
    },
};

async fn done(change: &Change, answers: Vec<Answer>) -> (Result<(), Error>, Vec<Asked>) {
    let environment = environment();
    let contracts = Contracts { aem: contract("aem", "8080"), dispatcher: contract("dispatcher", "80") };
    let content = Content::Release(Box::new(deployed()));
    let release = Release { environment: &environment, content: &content, contracts: &contracts };
    let (context, script) = apiserver(answers);
    let result = perform(&context, &environment, &release, change).await;
    (result, script.asked())
}

#[tokio::test]
async fn objects_are_applied_whole_by_our_field_manager() {
    for (change, path, kind) in [
        (
            Change::Workload { tier: Tier::Publish, replicas: 3, partition: 2 },
            "/apis/apps/v1/namespaces/wknd/statefulsets/prod-publish",
            "StatefulSet",
        ),
        (Change::Service(ServiceName::Dispatcher), "/api/v1/namespaces/wknd/services/prod-dispatcher", "Service"),
        (
            Change::Further(Further::Budget),
            "/apis/policy/v1/namespaces/wknd/poddisruptionbudgets/prod-pairs",
            "PodDisruptionBudget",
        ),
        (
            Change::Further(Further::Policy(Tier::Author)),
            "/apis/networking.k8s.io/v1/namespaces/wknd/networkpolicies/prod-author",
            "NetworkPolicy",
        ),
    ] {
        let (result, asked) = done(&change, vec![(200, json!({ "metadata": {} }))]).await;
        result.unwrap();
        let [asked] = asked.as_slice() else { panic!("{asked:?}") };
        let (line, query) = asked.line.split_once('?').unwrap();
        assert_eq!(line, format!("PATCH {path}"));
        let mut query: Vec<&str> = query.split('&').collect();
        query.sort_unstable();
        assert_eq!(query, ["fieldManager=launchway", "force=true"]);
        assert_eq!(asked.content_type, "application/apply-patch+yaml");
        assert_eq!(asked.body["kind"], kind);
        // The mark by which a change by hand is known.
        assert!(asked.body["metadata"]["annotations"]["launchway.dev/rendered"].is_string());
        assert!(asked.body["metadata"].get("resourceVersion").is_none(), "what is applied names no version");
        let (result, _) = done(&change, vec![refusal(409, "Conflict")]).await;
        assert!(matches!(result, Err(Error::Conflict(_))), "{result:?}");
    }
}

#[tokio::test]
async fn a_service_is_deleted_and_may_be_gone() {
    let change = Change::DeleteService("prod-pair-0-abc".into());
    for answer in [(200, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" })), gone()] {
        let (result, asked) = done(&change, vec![answer]).await;
        result.unwrap();
        assert_eq!(lines(&asked), ["DELETE /api/v1/namespaces/wknd/services/prod-pair-0-abc"]);
    }
    let (result, _) = done(&change, vec![refusal(403, "Forbidden")]).await;
    assert!(matches!(result, Err(Error::Kube { .. })), "{result:?}");
}

#[tokio::test]
async fn an_object_that_the_spec_does_not_ask_for_is_deleted_or_never_made() {
    let route = Further::Route(Side::Visitors);
    let (result, asked) = done(&Change::DeleteFurther(route), vec![gone()]).await;
    result.unwrap();
    assert_eq!(lines(&asked), ["DELETE /apis/networking.k8s.io/v1/namespaces/wknd/ingresses/prod-dispatcher"]);
    let (result, asked) = done(&Change::Further(route), vec![]).await;
    result.unwrap();
    assert!(asked.is_empty(), "the spec has no route: {asked:?}");
}

#[tokio::test]
async fn a_transition_is_one_event_and_its_loss_stops_nothing() {
    let mut execution: PipelineExecution = serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": { "name": "wknd-1", "namespace": "wknd", "uid": "uid-1" },
        "spec": { "pipelineRef": { "name": "wknd" } },
    }))
    .unwrap();
    let old = PipelineExecutionStatus { steps: vec![Step::new(StepName::Validate, None)], ..Default::default() };
    let mut new = old.clone();
    new.steps[0].state = StepState::Finished;
    execution.status = Some(new);
    let (context, script) = apiserver(vec![refusal(500, "InternalError")]);
    events::tell(&context, &execution, &old).await;
    let asked = script.asked();
    assert_eq!(lines(&asked), ["POST /apis/events.k8s.io/v1/namespaces/wknd/events"]);
    assert_eq!(
        (&asked[0].body["reason"], &asked[0].body["regarding"]["uid"]),
        (&json!("StepFinished"), &json!("uid-1"))
    );
}
