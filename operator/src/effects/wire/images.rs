//! What the ledger says of images that a history let go of, and that no build begins while some are deleted.

use std::{collections::BTreeSet, time::Duration};

use launchway_crds::{
    Pipeline,
    common::Span,
    conditions::reasons,
    pipeline::{ImagesState, LayerEncoding},
    step::StepName,
};
use serde_json::{Value, json};

use super::{
    Answer, apiserver, conflict,
    executions::{create_job, image, world},
    lines,
};
use crate::{
    effects::{
        execution::perform,
        images::{let_go, remember},
    },
    error::Error,
    plan::{
        execution::action::{Action, Registries, Work},
        memory::images::Outcome,
    },
};

const STATUS: &str = "PUT /apis/launchway.dev/v1alpha1/namespaces/wknd/pipelines/wknd/status";

fn pipeline() -> Value {
    let entry = |number: u8| {
        json!({
            "name": format!("wknd-{number}"), "uid": format!("uid-{number}"), "specHash": "0", "result": "Finished",
            "release": image('e'), "at": "2026-11-21T10:00:00Z",
        })
    };
    json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline",
        "metadata": { "name": "wknd", "namespace": "wknd", "generation": 2, "resourceVersion": "9" },
        "spec": { "type": "CodeQuality", "source": { "artifact": { "repository": "registry.example.com/a" } } },
        "status": { "ledger": [entry(2), entry(1)] },
    })
}

fn typed(value: Value) -> Pipeline {
    serde_json::from_value(value).unwrap()
}

fn uids() -> BTreeSet<String> {
    ["uid-1".to_owned()].into()
}

fn written() -> Answer {
    (200, pipeline())
}

#[tokio::test]
async fn what_is_let_go_of_is_written_over_the_version_that_was_read_and_once() {
    let (context, script) = apiserver(vec![written()]);
    let_go(&context, &typed(pipeline()), &uids()).await.unwrap();
    let asked = script.asked();
    assert_eq!(lines(&asked), [STATUS]);
    assert_eq!(asked[0].body["metadata"]["resourceVersion"], "9");
    let states = |body: &Value| [0, 1].map(|at| body["status"]["ledger"][at]["imagesState"].clone());
    assert_eq!(states(&asked[0].body), [Value::Null, json!("LetGo")]);

    let (context, _) = apiserver(vec![conflict()]);
    assert!(matches!(let_go(&context, &typed(pipeline()), &uids()).await, Err(Error::Conflict(_))), "decided anew");

    let mut marked = pipeline();
    marked["status"]["ledger"][1]["imagesState"] = json!(ImagesState::LetGo);
    let (context, script) = apiserver(vec![]);
    let_go(&context, &typed(marked.clone()), &uids()).await.unwrap();
    assert!(script.asked().is_empty(), "nothing changed");

    let (context, script) = apiserver(vec![written()]);
    remember(&context, &typed(marked), &uids(), &Outcome::NothingLeft).await.unwrap();
    let asked = script.asked();
    assert_eq!((lines(&asked), states(&asked[0].body)[1].clone()), (vec![STATUS], json!("Deleted")));
    assert_eq!(asked[0].body["status"]["conditions"][0]["reason"], reasons::NOTHING_LEFT);

    // Said before: nothing is written.
    let (context, script) = apiserver(vec![]);
    remember(&context, &typed(asked[0].body.clone()), &uids(), &Outcome::NothingLeft).await.unwrap();
    assert!(script.asked().is_empty());
}

fn build_images() -> Action {
    let work = Work::BuildImage {
        artifact: image('f'),
        aem: image('a'),
        dispatcher: image('d'),
        web_tier: false,
        provided: vec![],
        layer_encoding: LayerEncoding::default(),
        signing: None,
        registries: Registries::default(),
        timeout: Span::from_secs(60),
    };
    Action::CreateJob { step: StepName::BuildImage, work: Box::new(work) }
}

#[tokio::test]
async fn no_build_begins_while_images_are_deleted() {
    let made = || (201, json!({ "metadata": {} }));
    let (context, script) = apiserver(vec![made(), made()]);
    let turn = context.builds.write().await;
    let (world, build) = (world(None), build_images());
    let mut waits = std::pin::pin!(perform(&context, &world, &build));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waits).await.is_err(), "it began");
    // Whoever builds nothing waits for nobody.
    perform(&context, &world, &create_job()).await.unwrap();
    drop(turn);
    waits.await.unwrap();
    let made: Vec<Value> = script.asked().iter().map(|asked| asked.body["metadata"]["name"].clone()).collect();
    assert_eq!(made, ["wknd-1-code-quality", "wknd-1-build-image"]);
}
