//! Changes of an Environment, and Events.

use std::collections::BTreeMap;

use launchway_crds::{
    PipelineExecution,
    environment::Tier,
    execution::{PipelineExecutionStatus, Step},
    step::{StepName, StepState},
};
use serde_json::json;

use super::{Answer, Asked, apiserver, gone, lines, refusal};
use crate::{
    effects::{
        environment::{Material, finalize, perform},
        events,
    },
    error::Error,
    plan::environment::{
        Change, Finalizer, ServiceName,
        objects::{Further, Side},
        world::{Content, DesiredRelease},
    },
    render::{
        Contracts, Release,
        configuration::Configuration,
        kept::{Kept, Source},
        tests::{contract, deployed, environment},
    },
};

async fn done(change: &Change, answers: Vec<Answer>) -> (Result<(), Error>, Vec<Asked>) {
    done_with(true, change, answers).await
}

/// Makes a change, with what is rendered or with what is kept, which is nothing.
async fn done_with(rendered: bool, change: &Change, answers: Vec<Answer>) -> (Result<(), Error>, Vec<Asked>) {
    let environment = environment();
    let configuration = Configuration::resolve(&environment, &BTreeMap::new()).unwrap();
    let (context, script) = apiserver(answers);
    let content = Content::Release(Box::new(deployed()));
    let contracts = Contracts { aem: contract("aem", "8080"), dispatcher: contract("dispatcher", "80") };
    let release = Release {
        environment: &environment,
        content: &content,
        contracts: &contracts,
        configuration: configuration.hashes(),
    };
    let desired = DesiredRelease {
        content: content.clone(),
        revisions: release.revisions(),
        configuration: configuration.hashes().clone(),
    };
    let rendered = rendered.then_some(release);
    let source = Source { environment: &environment, release: &desired, rendered, kept: &Kept::default() };
    let material = Material { source: Some(source), configuration: Some(&configuration) };
    let result = perform(&context, &environment, material, change).await;
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

/// A Service as it is after a merge patch of ours.
fn patched() -> Answer {
    let entry = |operation: &str, port: u16| {
        json!({ "manager": "launchway", "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": { "f:spec": { "f:ports": { format!("k:{port}"): { ".": {} } } } } })
    };
    let entries = [entry("Apply", 80), entry("Update", 81)];
    (200, json!({ "metadata": { "resourceVersion": "7", "managedFields": entries } }))
}

/// Two ports of one name: what somebody else put beside ours is taken away, and what is refused for another reason is
/// told with the first words.
#[tokio::test]
async fn lists_that_others_added_to_are_set_when_applying_is_refused() {
    let (change, there) = (Change::Service(ServiceName::Dispatcher), || (200, json!({ "metadata": {} })));
    let (result, asked) = done(&change, vec![refusal(422, "Invalid"), there(), there()]).await;
    result.unwrap();
    let types: Vec<&str> = asked.iter().map(|asked| asked.content_type.as_str()).collect();
    assert_eq!(types, ["application/apply-patch+yaml", "application/merge-patch+json", "application/apply-patch+yaml"]);
    assert_eq!(asked[1].line, "PATCH /api/v1/namespaces/wknd/services/prod-dispatcher?fieldManager=launchway");
    assert_eq!(asked[1].body["spec"]["ports"], asked[0].body["spec"]["ports"]);
    for no in [gone(), refusal(422, "Invalid")] {
        let (result, asked) = done(&change, vec![refusal(422, "Invalid"), no]).await;
        assert!(matches!(&result, Err(Error::Kube { doing: "apply an object", .. })), "{result:?}");
        assert_eq!(asked.len(), 2);
    }
}

/// After it nobody owns anything by patching, whether that was just done or a crash left it: else what was patched could
/// never be applied away.
#[tokio::test]
async fn what_a_patch_left_is_owned_by_applying() {
    let (change, there) = (Change::Service(ServiceName::Dispatcher), || (200, json!({ "metadata": {} })));
    for before in [vec![refusal(422, "Invalid"), patched()], vec![patched()]] {
        let at = before.len();
        let (result, asked) = done(&change, [before, vec![there(), there()]].concat()).await;
        result.unwrap();
        let (fold, last) = (&asked[at], asked.last().unwrap());
        assert_eq!(fold.content_type, "application/merge-patch+json");
        assert_eq!(fold.body["metadata"]["resourceVersion"], "7");
        let entries = fold.body["metadata"]["managedFields"].as_array().unwrap();
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(entry["operation"], "Apply");
        assert_eq!(entry["fieldsV1"]["f:spec"]["f:ports"], json!({ "k:80": { ".": {} }, "k:81": { ".": {} } }));
        assert!(fold.body.get("spec").is_none(), "it changes no field: {:?}", fold.body);
        assert_eq!((last.content_type.as_str(), asked.len()), ("application/apply-patch+yaml", at + 2));
    }
    let (result, _) = done(&change, vec![patched(), refusal(409, "Conflict")]).await;
    assert!(matches!(result, Err(Error::Conflict(_))), "{result:?}");
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
async fn what_ran_before_cannot_come_back_without_its_templates() {
    let change = Change::Workload { tier: Tier::Publish, replicas: 3, partition: 2 };
    let (result, asked) = done_with(false, &change, vec![]).await;
    assert!(matches!(result, Err(Error::Conflict(_))), "{result:?}");
    assert!(asked.is_empty());
}

#[tokio::test]
async fn configuration_is_created_and_one_that_is_there_has_to_be_the_same() {
    let change = Change::Configuration(Tier::Publish);
    let there = || (201, json!({ "metadata": {} }));
    let (result, asked) = done(&change, vec![there(), there()]).await;
    result.unwrap();
    // By its manager an object of ours is told from one that somebody made in its place.
    let made =
        ["configmaps", "secrets"].map(|kind| format!("POST /api/v1/namespaces/wknd/{kind}?fieldManager=launchway"));
    assert_eq!(lines(&asked), made);
    assert_eq!((&asked[0].body["immutable"], &asked[1].body["immutable"]), (&json!(true), &json!(true)));

    let mut own = asked[0].body.clone();
    let (result, asked) = done(&change, vec![refusal(409, "AlreadyExists"), (200, own.clone()), there()]).await;
    result.unwrap();
    assert_eq!(asked.len(), 3);
    // An Environment of this name was deleted, and its objects were left behind.
    let mut orphan = own.clone();
    orphan["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    done(&change, vec![refusal(409, "AlreadyExists"), (200, orphan.clone()), there()]).await.0.unwrap();
    orphan["metadata"]["labels"]["launchway.dev/environment"] = "another".into();
    let (result, _) = done(&change, vec![refusal(409, "AlreadyExists"), (200, orphan)]).await;
    assert!(matches!(&result, Err(Error::Taken(why)) if why.contains("kubectl delete configmap")), "{result:?}");
    own["metadata"]["ownerReferences"][0]["uid"] = "another".into();
    let (result, _) = done(&change, vec![refusal(409, "AlreadyExists"), (200, own)]).await;
    assert!(matches!(&result, Err(error @ Error::Taken(_)) if error.refusal().is_some()), "{result:?}");
}

#[tokio::test]
async fn configuration_goes_secret_first_and_what_is_foreign_stays() {
    let change = Change::DeleteConfiguration("prod-publish-variables-0".into());
    let success = || (200, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }));
    let of = |owner: &str| {
        let owners =
            json!([{ "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment", "name": "prod", "uid": owner }]);
        (200, json!({ "metadata": { "name": "x", "uid": "its-uid", "ownerReferences": owners } }))
    };
    let (result, asked) = done(&change, vec![of("env-uid"), success(), of("env-uid"), success()]).await;
    result.unwrap();
    let (secret, map) = (
        "/api/v1/namespaces/wknd/secrets/prod-publish-variables-0",
        "/api/v1/namespaces/wknd/configmaps/prod-publish-variables-0",
    );
    let all = ["GET", "DELETE"].map(|verb| [secret, map].map(|path| format!("{verb} {path}")));
    assert_eq!(lines(&asked), [&all[0][0], &all[1][0], &all[0][1], &all[1][1]]);
    for deleted in [&asked[1], &asked[3]] {
        assert_eq!(deleted.body["preconditions"]["uid"], "its-uid");
    }
    for (answers, left) in [(vec![of("another"), of("another")], 2), (vec![gone(), gone()], 2)] {
        let (result, asked) = done(&change, answers).await;
        result.unwrap();
        assert_eq!(asked.len(), left, "only looked at: {asked:?}");
    }
}

#[tokio::test]
async fn a_finalizer_is_written_over_the_version_that_was_read_and_nothing_else_is() {
    let mut environment = environment();
    environment.metadata.resource_version = Some("7".into());
    environment.metadata.finalizers = Some(vec!["other".into()]);
    for (finalizer, written) in
        [(Finalizer::Add, json!(["other", "launchway.dev/execution"])), (Finalizer::Remove, json!(["other"]))]
    {
        let answer = serde_json::to_value(&environment).unwrap();
        let (context, script) = apiserver(vec![(200, answer)]);
        assert!(finalize(&context, &environment, finalizer).await.unwrap());
        let asked = script.asked();
        assert_eq!(lines(&asked), ["PATCH /apis/launchway.dev/v1alpha1/namespaces/wknd/environments/prod"]);
        assert_eq!(asked[0].body, json!({ "metadata": { "resourceVersion": "7", "finalizers": written } }));
    }
    let (context, _) = apiserver(vec![]);
    assert!(!finalize(&context, &environment, Finalizer::Leave).await.unwrap());
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
