//! Letting go and deleting, against an apiserver and a registry that answer as they are told: the record before the look,
//! the look before the deletion, and nothing deleted that the last look shows to be needed.

use std::sync::{Arc, Mutex};

use kube::runtime::{reflector, watcher::Event};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::effects::wire::{Answer, apiserver, bodies, lines};

const PIPELINES: &str = "/apis/launchway.dev/v1alpha1/pipelines";
const OWN: &str = "/apis/launchway.dev/v1alpha1/namespaces/wknd/pipelines/wknd";

fn digest(kind: char) -> String {
    format!("sha256:{}", kind.to_string().repeat(64))
}

/// A registry without tags of people, documents and anything else but what is let go of; it notes what it deletes.
struct Registry {
    host: String,
    deleted: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    /// `refuses`: it answers 405 to deletions.
    async fn start(refuses: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let deleted: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = deleted.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = answer(stream, &noted, refuses).await;
            }
        });
        Self { host, deleted }
    }

    fn images(&self) -> String {
        format!("{}/wknd/images", self.host)
    }

    fn deleted(&self) -> Vec<String> {
        self.deleted.lock().unwrap().clone()
    }
}

async fn answer(mut stream: TcpStream, deleted: &Mutex<Vec<String>>, refuses: bool) -> std::io::Result<()> {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = match method {
        "DELETE" if refuses => ("405 Method Not Allowed", ""),
        "DELETE" => {
            deleted.lock().unwrap().push(path.rsplit('/').next().unwrap_or_default().to_owned());
            ("202 Accepted", "")
        }
        "GET" if path.contains("/tags/list") => ("200 OK", r#"{"tags":[]}"#),
        _ => ("404 Not Found", ""),
    };
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// A pipeline with two executions, the older one of which is in this state.
fn pipeline(registry: &Registry, state: Option<&str>) -> Value {
    let images = registry.images();
    let image = |kind| format!("{images}@{}", digest(kind));
    let entry = |name: &str, kinds: [char; 3], state: Option<&str>| {
        json!({
            "name": name, "uid": format!("uid-{name}"), "specHash": "0", "result": "Finished", "release": image(kinds[0]),
            "images": { "aem": image(kinds[1]), "dispatcher": image(kinds[2]) }, "at": "2026-11-21T10:00:00Z",
            "imagesState": state,
        })
    };
    json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline",
        "metadata": { "name": "wknd", "namespace": "wknd", "generation": 2, "resourceVersion": "9" },
        "spec": {
            "type": "StageOnly", "source": { "artifact": { "repository": "registry.example.com/a" } },
            "images": { "repository": images, "plainHTTP": true }, "history": { "images": "Delete" },
        },
        "status": { "ledger": [entry("new", ['a', 'b', 'c'], None), entry("old", ['d', 'e', 'f'], state)] },
    })
}

fn list(kind: &str, version: &str, items: &[Value]) -> Answer {
    (200, json!({ "kind": format!("{kind}List"), "apiVersion": version, "metadata": {}, "items": items }))
}

/// A look at a cluster in which these executions run, and nothing else but the pipeline is.
fn look(pipeline: &Value, running: &[Value]) -> [Answer; 5] {
    const OURS: &str = "launchway.dev/v1alpha1";
    [
        list("Job", "batch/v1", &[]),
        list("PipelineExecution", OURS, running),
        list("Pod", "v1", &[]),
        list("Environment", OURS, &[]),
        list("Pipeline", OURS, std::slice::from_ref(pipeline)),
    ]
}

fn running(release: &str) -> Value {
    json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": { "name": "runs", "namespace": "other", "uid": "uid-runs" },
        "spec": { "pipelineRef": { "name": "p" } }, "status": { "state": "Running", "steps": [], "release": release },
    })
}

/// Executions in memory: the newer one alone.
fn executions() -> Executions {
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&Event::Init);
    let there = json!({
        "metadata": { "name": "new", "namespace": "wknd", "uid": "uid-new" }, "spec": { "pipelineRef": { "name": "wknd" } },
    });
    writer.apply_watcher_event(&Event::InitApply(serde_json::from_value(there).unwrap()));
    writer.apply_watcher_event(&Event::InitDone);
    store
}

/// What is asked of the apiserver: the lines without their queries, and the states of the older entry that were written.
async fn tidied(answers: Vec<Answer>) -> (Vec<String>, Vec<Value>, Option<Timestamp>) {
    let (context, script) = apiserver(answers);
    let next = tidy(&context, &executions(), "wknd", "wknd").await.unwrap();
    assert!(context.builds.try_read().is_ok(), "builds may begin again");
    let asked = script.asked();
    let paths = lines(&asked).into_iter().map(|line| line.split('?').next().unwrap_or_default().to_owned()).collect();
    (paths, bodies(&asked, "/status"), next)
}

#[tokio::test]
async fn the_record_comes_before_the_look_and_the_look_before_the_deletion() {
    let registry = Registry::start(false).await;
    let (before, after) = (pipeline(&registry, None), pipeline(&registry, Some("LetGo")));
    let own = |value: &Value| (200, value.clone());
    let mut answers = vec![own(&before)];
    answers.extend(look(&before, &[]));
    answers.extend([own(&after), own(&after)]);
    answers.extend(look(&after, &[]));
    // In the turn: once more.
    answers.push(own(&after));
    answers.extend(look(&after, &[]));
    answers.push(own(&after));
    let (asked, written, next) = tidied(answers).await;
    let lists = [
        "GET /apis/batch/v1/jobs",
        "GET /apis/launchway.dev/v1alpha1/pipelineexecutions",
        "GET /api/v1/pods",
        "GET /apis/launchway.dev/v1alpha1/environments",
        &format!("GET {PIPELINES}"),
    ];
    let (get, put) = (format!("GET {OWN}"), format!("PUT {OWN}/status"));
    let read = [&[get.as_str()], &lists[..]].concat();
    assert_eq!(asked, [&read[..], &[&put], &read, &read, &[&put]].concat());
    let state = |body: &Value| body["status"]["ledger"][1]["imagesState"].clone();
    assert_eq!(written.iter().map(state).collect::<Vec<_>>(), ["LetGo", "Deleted"]);
    assert_eq!(registry.deleted(), ['d', 'e', 'f'].map(digest));
    assert_eq!(next, None);
}

#[tokio::test]
async fn who_turns_up_before_the_last_look_keeps_what_it_has() {
    let registry = Registry::start(false).await;
    let due = pipeline(&registry, Some("LetGo"));
    let own = |value: &Value| (200, value.clone());
    let comes = running(&format!("{}@{}", registry.images(), digest('d')));
    let mut answers = vec![own(&due)];
    answers.extend(look(&due, &[]));
    answers.push(own(&due));
    answers.extend(look(&due, &[comes]));
    answers.push(own(&due));
    let (_, written, next) = tidied(answers).await;
    assert_eq!(registry.deleted(), Vec::<String>::new());
    let said = &written[0]["status"]["conditions"][0];
    assert_eq!((&said["type"], &said["reason"]), (&json!("ImagesDeleted"), &json!("StillNeeded")));
    assert!(next.is_some(), "it is looked at again");
    // One that asks for other images, or for none to be deleted, has them kept: nothing is written either.
    for (field, value) in
        [("history", json!({ "images": "Keep" })), ("images", json!({ "repository": "other.example.com/x" }))]
    {
        let mut edited = due.clone();
        edited["spec"][field] = value;
        let mut answers = vec![own(&due)];
        answers.extend(look(&due, &[]));
        answers.push(own(&edited));
        assert_eq!(tidied(answers).await.1, Vec::<Value>::new(), "{field}");
        assert_eq!(registry.deleted(), Vec::<String>::new(), "{field}");
    }
}

#[tokio::test]
async fn a_registry_that_deletes_nothing_is_told_and_asked_again_later() {
    let registry = Registry::start(true).await;
    let due = pipeline(&registry, Some("LetGo"));
    let own = |value: &Value| (200, value.clone());
    let mut answers = vec![own(&due)];
    answers.extend(look(&due, &[]));
    answers.push(own(&due));
    answers.extend(look(&due, &[]));
    answers.push(own(&due));
    let (_, written, next) = tidied(answers).await;
    let said = &written[0]["status"]["conditions"][0];
    assert_eq!((&said["status"], &said["reason"]), (&json!("False"), &json!("RegistryCannotDelete")));
    assert_eq!(written[0]["status"]["ledger"][1]["imagesState"], "LetGo");
    assert!(next.is_some());
}

#[tokio::test]
async fn nothing_is_asked_about_a_pipeline_that_has_let_go_of_nothing() {
    let registry = Registry::start(false).await;
    let mut done = pipeline(&registry, Some("Deleted"));
    let (asked, written, _) = tidied(vec![(200, done.clone()), (200, done.clone())]).await;
    assert_eq!((asked.len(), &written[0]["status"]["conditions"][0]["reason"]), (2, &json!("NothingLeft")));
    done["status"] = written[0]["status"].clone();
    let (asked, _, next) = tidied(vec![(200, done)]).await;
    assert_eq!((asked.len(), next), (1, None), "it is said");
}
