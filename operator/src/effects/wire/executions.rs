//! Actions of an execution.

use std::collections::BTreeMap;

use launchway_crds::{
    Environment, Pipeline, PipelineExecution,
    common::Span,
    deploy::Scope,
    digest::ImageRef,
    environment::{ReleaseImages, Runtime, Target},
    git::GitSource,
    pipeline::LedgerEntry,
    step::StepName,
};
use serde_json::{Value, json};

use super::{Answer, Asked, apiserver, conflict, gone, lines, refusal};
use crate::{
    effects::{execution::perform, status},
    error::Error,
    plan::execution::{
        action::{Action, Registries, Sources, Work},
        ledger::TestedSteps,
        revision,
        world::{GitFacts, Guard, RevisionFacts, Siblings, World},
    },
};

const ENVIRONMENT: &str = "/apis/launchway.dev/v1alpha1/namespaces/wknd/environments/prod";
const PIPELINE: &str = "/apis/launchway.dev/v1alpha1/namespaces/wknd/pipelines/wknd";
pub(super) const JOBS: &str = "/apis/batch/v1/namespaces/wknd/jobs";

pub(super) fn image(letter: char) -> ImageRef {
    format!("registry.example.com/wknd/images@sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
}

fn execution() -> PipelineExecution {
    serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": { "name": "wknd-1", "namespace": "wknd", "uid": "uid-1", "resourceVersion": "3" },
        "spec": { "pipelineRef": { "name": "wknd" } },
    }))
    .unwrap()
}

/// An Environment of this version, locked by an execution of this UID.
pub(super) fn environment(version: &str, holder: Option<&str>) -> Answer {
    let mut object = json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
        "metadata": { "name": "prod", "namespace": "wknd", "resourceVersion": version },
        "spec": { "type": "Production" }, "status": { "observedGeneration": 4 },
    });
    if let Some(uid) = holder {
        let lock = json!({ "execution": "wknd-1", "uid": uid, "since": "2026-11-21T10:00:00Z" });
        object["status"]["lock"] = lock;
    }
    (200, object)
}

pub(super) fn pipeline(ledger: &[&LedgerEntry]) -> Answer {
    let object = json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline",
        "metadata": { "name": "wknd", "namespace": "wknd", "resourceVersion": "9" },
        "spec": {
            "type": "CodeQuality", "source": { "artifact": { "repository": "registry.example.com/wknd/artifacts" } },
        },
        "status": { "ledger": ledger },
    });
    (200, object)
}

fn entry() -> LedgerEntry {
    serde_json::from_value(json!({
        "name": "wknd-1", "uid": "uid-1", "specHash": "0", "result": "Finished", "at": "2026-11-21T10:00:00Z",
    }))
    .unwrap()
}

fn prod() -> String {
    "prod".into()
}

pub(super) fn keep_revision() -> Action {
    let pipeline: Pipeline = serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline",
        "metadata": { "name": "wknd", "namespace": "wknd", "uid": "pipeline-1", "generation": 4 },
        "spec": { "type": "CodeQuality", "source": { "artifact": { "repository": "registry.example.com/a" } } },
    }))
    .unwrap();
    Action::KeepRevision {
        owner: Box::new(kube::Resource::controller_owner_ref(&pipeline, &()).unwrap()),
        spec: Box::new(pipeline.spec.clone()),
        revision: revision::of(&pipeline),
    }
}

pub(super) fn lock() -> Action {
    Action::Lock { environment: prod() }
}

pub(super) fn unlock() -> Action {
    Action::Unlock { environment: prod() }
}

pub(super) fn set_target() -> Action {
    let target = Target {
        execution: "wknd-1".into(),
        uid: "uid-1".into(),
        release: image('e'),
        images: ReleaseImages { aem: image('a'), dispatcher: image('d') },
        scope: Scope::Release,
        detach: true,
        cache: None,
        made_at: None,
        since: serde_json::from_value("2026-11-21T10:00:00Z".into()).unwrap(),
        pause_after: None,
    };
    Action::SetTarget { environment: prod(), target: Box::new(target) }
}

fn resume() -> Action {
    Action::Resume { environment: prod() }
}

fn stop() -> Action {
    Action::Stop { environment: prod(), why: "stopped by bob".into() }
}

pub(super) fn create_job() -> Action {
    let work = Work::CodeQuality {
        artifact: image('f'),
        provided: vec![],
        refuse: false,
        registries: Registries::default(),
        timeout: Span::from_secs(60),
        scanners: vec![],
    };
    Action::CreateJob { step: StepName::CodeQuality, work: Box::new(work) }
}

pub(super) fn delete_job() -> Action {
    Action::DeleteJob { name: "wknd-1-code-quality".into(), uid: "job-1".into() }
}

pub(super) fn remember() -> Action {
    Action::Remember { pipeline: "wknd".into(), entry: Box::new(entry()), tests: TestedSteps::default() }
}

/// A new action has to be added here, and gets a test below.
#[test]
fn every_action_has_a_test() {
    for action in
        [keep_revision(), lock(), unlock(), set_target(), resume(), stop(), create_job(), delete_job(), remember()]
    {
        match action {
            Action::KeepRevision { .. }
            | Action::Lock { .. }
            | Action::Unlock { .. }
            | Action::SetTarget { .. }
            | Action::Resume { .. }
            | Action::Stop { .. }
            | Action::CreateJob { .. }
            | Action::DeleteJob { .. }
            | Action::Remember { .. } => {}
        }
    }
}

/// Facts of which no action has need, but for an Environment that a round has read already.
pub(super) fn world(production: Option<Environment>) -> World {
    World {
        now: "2026-11-21T10:00:00Z".parse().unwrap(),
        execution: execution(),
        pipeline: None,
        stage: None,
        production,
        source_pipeline: None,
        revision: RevisionFacts::default(),
        rival: None,
        ahead: None,
        siblings: Siblings::default(),
        artifact: None,
        git: GitFacts::default(),
        jobs: BTreeMap::new(),
        release: None,
        refused: vec![],
        denied: None,
        guard: Guard::NotLookedAt,
        web_tiers: None,
        default_runtime: Runtime::default(),
    }
}

async fn done(action: Action, answers: Vec<Answer>) -> (Result<(), Error>, Vec<Asked>) {
    done_knowing(None, action, answers).await
}

/// An effect of a round that has read this Environment already.
async fn done_knowing(
    production: Option<Environment>,
    action: Action,
    answers: Vec<Answer>,
) -> (Result<(), Error>, Vec<Asked>) {
    let (context, script) = apiserver(answers);
    let world = world(production);
    let result = perform(&context, &world, &action).await;
    (result, script.asked())
}

fn read() -> String {
    format!("GET {ENVIRONMENT}")
}

fn write() -> String {
    format!("PUT {ENVIRONMENT}/status")
}

#[tokio::test]
async fn a_version_of_a_pipeline_is_kept_under_the_name_of_its_content() {
    let Action::KeepRevision { revision, .. } = keep_revision() else { panic!() };
    for answer in [(201, json!({ "metadata": {}, "revision": 4 })), refusal(409, "AlreadyExists")] {
        let (result, asked) = done(keep_revision(), vec![answer]).await;
        result.unwrap();
        assert_eq!(lines(&asked), ["POST /apis/apps/v1/namespaces/wknd/controllerrevisions"]);
        let made = &asked[0].body;
        assert_eq!((&made["metadata"]["name"], &made["revision"]), (&json!(revision.name), &json!(4)));
        assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], "pipeline-1");
        assert_eq!(made["data"]["source"]["artifact"]["repository"], "registry.example.com/a");
    }
}

#[tokio::test]
async fn a_lock_is_taken_by_compare_and_set() {
    let (result, asked) = done(lock(), vec![environment("7", None), environment("8", Some("uid-1"))]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [read(), write()]);
    let written = &asked[1].body;
    assert_eq!(written["metadata"]["resourceVersion"], "7", "over the version that was read, and no other");
    assert_eq!(
        (&written["status"]["lock"]["execution"], &written["status"]["lock"]["uid"]),
        (&json!("wknd-1"), &json!("uid-1"))
    );
    assert_eq!(written["status"]["observedGeneration"], 4, "what others wrote stays");
}

#[tokio::test]
async fn what_the_round_has_read_is_not_read_again_but_after_a_conflict() {
    let known = |version| serde_json::from_value(environment(version, None).1).ok();
    let (result, asked) = done_knowing(known("7"), lock(), vec![environment("8", Some("uid-1"))]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [write()]);
    assert_eq!(asked[0].body["metadata"]["resourceVersion"], "7");
    // Another execution was quicker: it keeps the lock.
    let (result, asked) = done_knowing(known("7"), lock(), vec![conflict(), environment("8", Some("uid-9"))]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [write(), read()]);
}

#[tokio::test]
async fn a_lock_that_somebody_has_is_left_alone() {
    let (result, asked) = done(lock(), vec![environment("7", Some("uid-9"))]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [read()]);
    let (result, asked) = done(lock(), vec![gone()]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [read()], "an Environment that is gone is found missing by the next round");
}

#[tokio::test]
async fn an_environment_that_is_about_to_be_deleted_is_not_taken() {
    let leaving = |version| {
        let (code, mut object) = environment(version, None);
        object["metadata"]["deletionTimestamp"] = json!("2026-11-21T09:59:00Z");
        (code, object)
    };
    let (result, asked) = done(lock(), vec![leaving("7")]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [read()]);
    // Its deletion is what came between.
    let known = serde_json::from_value(environment("7", None).1).ok();
    let (result, asked) = done_knowing(known, lock(), vec![conflict(), leaving("8")]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [write(), read()]);
}

#[tokio::test]
async fn a_conflict_is_read_again_and_decided_again() {
    let answers = vec![environment("7", None), conflict(), environment("8", None), environment("9", Some("uid-1"))];
    let (result, asked) = done(lock(), answers).await;
    result.unwrap();
    assert_eq!(lines(&asked), [read(), write(), read(), write()]);
    assert_eq!(asked[3].body["metadata"]["resourceVersion"], "8");
    // Another execution was quicker: it keeps the lock.
    let answers = vec![environment("7", None), conflict(), environment("8", Some("uid-9"))];
    let (result, asked) = done(lock(), answers).await;
    result.unwrap();
    assert_eq!(lines(&asked), [read(), write(), read()]);
    // Somebody writes without end.
    let answers = (0..5).flat_map(|_| [environment("7", None), conflict()]).collect();
    let (result, asked) = done(lock(), answers).await;
    assert!(matches!(result, Err(Error::Conflict(_))) && asked.len() == 10, "{result:?}");
}

#[tokio::test]
async fn an_apiserver_that_fails_is_an_error_and_no_second_try() {
    for answer in [refusal(500, "InternalError"), refusal(403, "Forbidden"), refusal(503, "ServiceUnavailable")] {
        let (result, asked) = done(lock(), vec![environment("7", None), answer]).await;
        assert!(matches!(result, Err(Error::Kube { .. })), "{result:?}");
        assert_eq!(asked.len(), 2);
    }
}

#[tokio::test]
async fn a_lock_is_given_back_only_by_its_holder() {
    let (result, asked) = done(unlock(), vec![environment("7", Some("uid-1")), environment("8", None)]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [read(), write()]);
    assert_eq!(asked[1].body["status"].get("lock"), None);
    for answer in [environment("7", Some("uid-9")), environment("7", None), gone()] {
        let (result, asked) = done(unlock(), vec![answer]).await;
        result.unwrap();
        assert_eq!(lines(&asked), [read()]);
    }
}

#[tokio::test]
async fn a_target_is_set_only_under_the_lock() {
    let (result, asked) =
        done(set_target(), vec![environment("7", Some("uid-1")), environment("8", Some("uid-1"))]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [read(), write()]);
    let written: Environment = serde_json::from_value(asked[1].body.clone()).unwrap();
    let status = written.status.unwrap();
    assert_eq!((status.target.unwrap().release, status.rollout), (image('e'), None));
    for answer in [environment("7", Some("uid-9")), environment("7", None), gone()] {
        let (result, asked) = done(set_target(), vec![answer]).await;
        result.unwrap();
        assert_eq!(lines(&asked), [read()]);
    }
    // A second time changes nothing.
    let (_, asked) = done(set_target(), vec![(200, asked[1].body.clone())]).await;
    assert_eq!(lines(&asked), [read()]);
}

#[tokio::test]
async fn a_target_is_set_over_the_spec_that_was_decided_on_and_no_other() {
    let own = |version, generation: i64| {
        let (code, mut object) = environment(version, Some("uid-1"));
        object["metadata"]["generation"] = generation.into();
        (code, object)
    };
    let known = || serde_json::from_value(own("7", 4).1).ok();
    // Only its status was written meanwhile.
    let answers = vec![conflict(), own("8", 4), own("9", 4)];
    let (result, asked) = done_knowing(known(), set_target(), answers).await;
    result.unwrap();
    assert_eq!(lines(&asked), [write(), read(), write()]);
    // Somebody set spec.hold, or closed a window, meanwhile: the next round decides.
    let (result, asked) = done_knowing(known(), set_target(), vec![conflict(), own("8", 5)]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [write(), read()]);
}

/// An Environment whose rollout of an execution's release pauses.
fn paused(uid: &str, state: &str, after: Option<i32>) -> Answer {
    let (code, mut object) = environment("7", Some("uid-1"));
    object["status"]["target"] = json!({
        "execution": "wknd-1", "uid": uid, "release": image('e'), "since": "2026-11-21T10:00:00Z", "pauseAfter": after,
        "images": { "aem": image('a'), "dispatcher": image('d') },
    });
    object["status"]["rollout"] = json!({
        "state": state, "phase": "Pair 2", "since": "2026-11-21T10:00:00Z", "revision": "r", "updated": 1, "total": 2,
    });
    (code, object)
}

#[tokio::test]
async fn a_pause_is_ended_only_by_whose_release_it_is() {
    let (result, asked) = done(resume(), vec![paused("uid-1", "Paused", Some(1)), environment("8", None)]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [read(), write()]);
    let target = &asked[1].body["status"]["target"];
    assert_eq!((&target["uid"], target.get("pauseAfter")), (&json!("uid-1"), None));
    let (result, asked) = done(stop(), vec![paused("uid-1", "Paused", Some(1)), environment("8", None)]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [read(), write()]);
    let rollout = &asked[1].body["status"]["rollout"];
    assert_eq!((&rollout["state"], &rollout["message"]), (&json!("Failed"), &json!("stopped by bob")));
    // Another one's, or one that goes on already.
    for (action, answer) in [
        (resume(), paused("uid-9", "Paused", Some(1))),
        (resume(), paused("uid-1", "Paused", None)),
        (stop(), paused("uid-9", "Paused", Some(1))),
        (stop(), paused("uid-1", "Progressing", None)),
        (stop(), gone()),
    ] {
        let (result, asked) = done(action, vec![answer]).await;
        result.unwrap();
        assert_eq!(lines(&asked), [read()]);
    }
}

#[tokio::test]
async fn a_job_is_created_by_name_and_one_that_is_there_is_no_error() {
    let (result, asked) = done(create_job(), vec![(201, json!({ "metadata": {} }))]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [format!("POST {JOBS}")]);
    let job = &asked[0].body;
    assert_eq!(job["metadata"]["name"], "wknd-1-code-quality");
    let owner = &job["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["uid"], &owner["controller"]), (&json!("uid-1"), &json!(true)));
    let (result, _) = done(create_job(), vec![refusal(409, "AlreadyExists")]).await;
    result.unwrap();
    let (result, _) = done(create_job(), vec![refusal(403, "Forbidden")]).await;
    assert!(matches!(result, Err(Error::Kube { .. })), "{result:?}");
}

/// The Job of a build, with a cache.
fn create_build() -> Action {
    let git = json!({
        "url": "https://git.example.com/wknd.git", "branch": "main", "builder": { "cache": { "size": "1Gi" } },
    });
    let git: GitSource = serde_json::from_value(git).unwrap();
    let sources = Sources {
        remote: git.remote().unwrap(),
        git,
        builder: image('b'),
        pipeline: "wknd".into(),
        pipeline_uid: "p-1".into(),
        cache_epoch: String::new(),
    };
    let commit = json!({
        "url": "https://git.example.com/wknd.git", "ref": "refs/heads/main", "id": "a".repeat(40),
        "resolvedAt": "2026-11-21T10:00:00Z",
    });
    let packages = serde_json::from_value(json!({ "repository": "registry.example.com/wknd/artifacts" })).unwrap();
    let work = Work::Build {
        sources: Box::new(sources),
        commit: serde_json::from_value(commit).unwrap(),
        key: image('c').digest(),
        version: None,
        packages,
        timeout: Span::from_secs(60),
    };
    Action::CreateJob { step: StepName::Build, work: Box::new(work) }
}

#[tokio::test]
async fn a_build_is_alone_and_has_the_cache_of_its_pipeline() {
    let made = || (201, json!({ "metadata": {} }));
    for claim in [made(), refusal(409, "AlreadyExists")] {
        let (result, asked) = done(create_build(), vec![(200, json!({ "metadata": {} })), claim, made()]).await;
        result.unwrap();
        let policy = "/apis/networking.k8s.io/v1/namespaces/wknd/networkpolicies/launchway-builds";
        let claims = "/api/v1/namespaces/wknd/persistentvolumeclaims";
        let paths: Vec<&str> = asked.iter().filter_map(|asked| asked.line.split('?').next()).collect();
        assert_eq!(paths, [format!("PATCH {policy}"), format!("POST {claims}"), format!("POST {JOBS}")]);
        assert_eq!(asked[0].body["spec"]["policyTypes"], json!(["Ingress"]));
        let owner = &asked[1].body["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Pipeline"), &json!("p-1")));
    }
}

#[tokio::test]
async fn a_job_is_deleted_by_its_uid_and_may_be_gone() {
    for answer in [(200, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" })), gone()] {
        let (result, asked) = done(delete_job(), vec![answer]).await;
        result.unwrap();
        assert_eq!(lines(&asked), [format!("DELETE {JOBS}/wknd-1-code-quality")]);
        let options = &asked[0].body;
        assert_eq!(
            (&options["preconditions"]["uid"], &options["propagationPolicy"]),
            (&json!("job-1"), &json!("Background"))
        );
    }
    // A Job of that name with another UID is not this execution's: the facts are read again.
    let (result, _) = done(delete_job(), vec![conflict()]).await;
    assert!(matches!(result, Err(Error::Conflict(_))), "{result:?}");
}

#[tokio::test]
async fn an_end_is_remembered_once() {
    let (result, asked) = done(remember(), vec![pipeline(&[]), pipeline(&[&entry()])]).await;
    result.unwrap();
    assert_eq!(lines(&asked), [format!("GET {PIPELINE}"), format!("PUT {PIPELINE}/status")]);
    let written: Pipeline = serde_json::from_value(asked[1].body.clone()).unwrap();
    assert_eq!(written.metadata.resource_version.as_deref(), Some("9"));
    assert_eq!(written.status.unwrap().ledger, [entry()]);
    for answer in [pipeline(&[&entry()]), gone()] {
        let (result, asked) = done(remember(), vec![answer]).await;
        result.unwrap();
        assert_eq!(lines(&asked), [format!("GET {PIPELINE}")]);
    }
    // Somebody wrote meanwhile: what is there by now is asked again.
    let (result, asked) = done(remember(), vec![pipeline(&[]), conflict(), pipeline(&[&entry()])]).await;
    result.unwrap();
    assert_eq!(asked.len(), 3);
}

#[tokio::test]
async fn a_status_is_written_over_the_version_that_was_read() {
    let mut object = execution();
    object.status.get_or_insert_default().state = "Running".into();
    let (context, script) = apiserver(vec![(200, serde_json::to_value(&object).unwrap()), conflict()]);
    status::replace(&context, &object).await.unwrap();
    let again = status::replace(&context, &object).await;
    assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
    let asked = script.asked();
    let line = "PUT /apis/launchway.dev/v1alpha1/namespaces/wknd/pipelineexecutions/wknd-1/status";
    assert_eq!(lines(&asked), [line, line]);
    let body: &Value = &asked[0].body;
    assert_eq!((&body["metadata"]["resourceVersion"], &body["status"]["state"]), (&json!("3"), &json!("Running")));
}
